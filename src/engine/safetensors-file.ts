/** A safetensors file that holds one f32 tensor [rows, columns] named `name`. */
export function safetensorsFile(
  name: string,
  values: Float32Array,
  rows: number,
  columns: number,
): Uint8Array {
  const entry = { dtype: 'F32', shape: [rows, columns], data_offsets: [0, values.byteLength] };
  const json = JSON.stringify({ [name]: entry });
  // The format wants the data to start at a multiple of 8.
  const header = new TextEncoder().encode(json.padEnd(Math.ceil(json.length / 8) * 8, ' '));
  const bytes = new Uint8Array(8 + header.length + values.byteLength);
  new DataView(bytes.buffer).setBigUint64(0, BigInt(header.length), true);
  bytes.set(header, 8);
  bytes.set(new Uint8Array(values.buffer, values.byteOffset, values.byteLength), 8 + header.length);
  return bytes;
}
