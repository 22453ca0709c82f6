import { isAbsolute, join, resolve } from 'node:path';
import { CideryError, errorCode } from '../../base/error.ts';
import { limits } from '../../base/limits.ts';
import type { Disk } from '../../ports/disk.ts';

/** The public hub, used unless `HF_ENDPOINT` names another. */
const publicHub = 'https://huggingface.co';

/** What the environment says of the hub; the names are those that Hugging Face's own tools read. */
export interface HubSettings {
  /** Origin and path in front of every request, without a slash at the end. */
  readonly endpoint: string;
  /** Folder of the Hugging Face cache: `models--org--name` folders lie in it. */
  readonly cacheFolder: string;
  /**
   * The token itself, from the environment; null when it has to be read from `tokenPath`, if it is
   * there.
   */
  readonly token: string | null;
  readonly tokenPath: string;
  readonly offline: boolean;
}

export type Environment = Readonly<Record<string, string | undefined>>;

/** The variable's value, or undefined when it is unset or empty. */
function valueOf(environment: Environment, ...names: string[]): string | undefined {
  return names
    .map((name) => environment[name]?.trim())
    .find((value) => value !== undefined && value !== '');
}

function expandHome(path: string, userHome: string): string {
  if (path === '~') return userHome;
  const expanded = path.startsWith('~/') ? join(userHome, path.slice(2)) : path;
  return isAbsolute(expanded) ? expanded : resolve(expanded);
}

function parseEndpoint(text: string): string {
  const url = URL.canParse(text) ? new URL(text) : null;
  if (url === null || !/^https?:$/.test(url.protocol) || url.search !== '' || url.username !== '') {
    throw new CideryError('hub_endpoint_malformed', `HF_ENDPOINT is no http address: ${text}`, {
      hint: 'set it to something like https://hub.example, or unset it',
    });
  }
  return url.href.replace(/\/+$/, '');
}

/**
 * Reads `HF_ENDPOINT`, `HF_HOME`, `HF_HUB_CACHE`, `HF_TOKEN`, `HF_TOKEN_PATH`, `HF_HUB_OFFLINE` and
 * what stands in for them (`XDG_CACHE_HOME`, and the older names of the Python package).
 * Errors: `hub_endpoint_malformed`.
 */
export function readHubSettings(environment: Environment, userHome: string): HubSettings {
  const path = (...names: string[]): string | undefined => {
    const value = valueOf(environment, ...names);
    return value === undefined ? undefined : expandHome(value, userHome);
  };
  const home =
    path('HF_HOME') ?? join(path('XDG_CACHE_HOME') ?? join(userHome, '.cache'), 'huggingface');
  return {
    endpoint: parseEndpoint(valueOf(environment, 'HF_ENDPOINT') ?? publicHub),
    cacheFolder: path('HF_HUB_CACHE', 'HUGGINGFACE_HUB_CACHE') ?? join(home, 'hub'),
    token: valueOf(environment, 'HF_TOKEN', 'HUGGING_FACE_HUB_TOKEN') ?? null,
    tokenPath: path('HF_TOKEN_PATH') ?? join(home, 'token'),
    offline: /^(1|on|yes|true)$/i.test(
      valueOf(environment, 'HF_HUB_OFFLINE', 'TRANSFORMERS_OFFLINE') ?? '',
    ),
  };
}

/**
 * The token to send: from the environment, else from the token file, else null.
 * Errors: `hub_token_malformed` when it holds what no token holds (a header could be split by it).
 */
export async function readToken(disk: Disk, settings: HubSettings): Promise<string | null> {
  let token = settings.token;
  if (token === null) {
    try {
      token = (await disk.readText(settings.tokenPath, limits.hubTokenMaxBytes)).trim();
    } catch (error) {
      if (errorCode(error) !== 'file_missing') throw error;
      return null;
    }
  }
  if (token === '') return null;
  if (!/^[\x21-\x7e]+$/.test(token)) {
    throw new CideryError(
      'hub_token_malformed',
      'the hub token holds spaces or control characters',
      {
        hint: 'check HF_TOKEN, or the token file in HF_HOME',
      },
    );
  }
  return token;
}
