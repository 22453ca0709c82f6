/** Branded ids: a string that has been parsed as one kind of id cannot be passed for another. */
type Branded<Kind extends string> = string & { readonly __kind: Kind };

/** A model as users name it: a catalogue name, `org/name`, or `local/NAME-HASH8`. */
export type ModelId = Branded<'model'>;
export type DeploymentId = Branded<'deployment'>;
export type InstanceId = Branded<'instance'>;

export const modelId = (text: string): ModelId => text as ModelId;
export const deploymentId = (text: string): DeploymentId => text as DeploymentId;
export const instanceId = (text: string): InstanceId => text as InstanceId;
