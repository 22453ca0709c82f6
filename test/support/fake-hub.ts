import { createHash } from 'node:crypto';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { setTimeout as sleep } from 'node:timers/promises';

export interface FakeFile {
  readonly path: string;
  readonly bytes: Uint8Array;
  /** Large files are listed by SHA-256 and sent by the second port, the "CDN". */
  readonly lfs: boolean;
}

/** What the hub does instead of a good answer. */
export type Fault =
  | { readonly kind: 'status'; readonly status: number; readonly headers?: Record<string, string> }
  /** Sends some bytes of the body, then nothing more. */
  | { readonly kind: 'stall'; readonly afterBytes: number }
  /** Sends one byte now and then. */
  | { readonly kind: 'drip' }
  /** Sends some bytes of the body, then breaks the connection. */
  | { readonly kind: 'cut'; readonly afterBytes: number }
  /** Sends a body that ends early, or late, as if that were its length. */
  | { readonly kind: 'length'; readonly change: number }
  /** Answers a range with 200 and the whole file. */
  | { readonly kind: 'ignoreRange' }
  /** Says that another range follows than the one asked for. */
  | { readonly kind: 'shiftRange' }
  /** Flips a bit of each body. */
  | { readonly kind: 'corrupt' }
  /** Sends the body at this speed. */
  | { readonly kind: 'slow'; readonly bytesPerS: number }
  | { readonly kind: 'redirect'; readonly to: string };

export interface SeenRequest {
  readonly method: string;
  readonly path: string;
  readonly range: string | undefined;
  readonly authorization: string | undefined;
  readonly onCdn: boolean;
}

const commit = 'c0ffee'.padEnd(40, '0');

function gitSha1(bytes: Uint8Array): string {
  return createHash('sha1').update(`blob ${bytes.length}\0`).update(bytes).digest('hex');
}

/** The hash under which a file lies in the cache. */
export function blobName(file: FakeFile): string {
  return file.lfs ? createHash('sha256').update(file.bytes).digest('hex') : gitSha1(file.bytes);
}

/** A model hub on two loopback ports, which serves one repository and misbehaves as told. */
export class FakeHub {
  readonly commit = commit;
  readonly repository: string;
  readonly files: readonly FakeFile[];
  readonly requests: SeenRequest[] = [];
  /** Body bytes of files that were handed to the network. */
  fileBytesSent = 0;
  /** Called for every request with its number, from 0; null serves it well. */
  behave: (request: SeenRequest, index: number) => Fault | null = () => null;
  /** Listings as some hubs give them: without sizes and hashes. */
  bareListing = false;
  /** Changes the listing before it is sent. */
  editListing: (listing: Record<string, unknown>) => unknown = (listing) => listing;
  #hub: Server;
  #cdn: Server;

  private constructor(repository: string, files: readonly FakeFile[]) {
    this.repository = repository;
    this.files = files;
    this.#hub = createServer((request, response) => this.#onRequest(request, response, false));
    this.#cdn = createServer((request, response) => this.#onRequest(request, response, true));
  }

  static async start(repository: string, files: readonly FakeFile[]): Promise<FakeHub> {
    const hub = new FakeHub(repository, files);
    for (const server of [hub.#hub, hub.#cdn]) {
      await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    }
    return hub;
  }

  async stop(): Promise<void> {
    for (const server of [this.#hub, this.#cdn]) {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    }
  }

  get url(): string {
    return `http://127.0.0.1:${portOf(this.#hub)}`;
  }

  get cdnUrl(): string {
    return `http://127.0.0.1:${portOf(this.#cdn)}`;
  }

  /** Requests for a file's bytes. */
  downloads(path?: string): SeenRequest[] {
    return this.requests.filter(
      (seen) =>
        seen.method === 'GET' &&
        !seen.path.startsWith('/api/') &&
        (path === undefined || seen.path.endsWith(path)),
    );
  }

  #onRequest(request: IncomingMessage, response: ServerResponse, onCdn: boolean): void {
    const seen: SeenRequest = {
      method: request.method ?? '',
      path: decodeURIComponent((request.url ?? '').replace(/\?.*$/, '')),
      range: request.headers.range,
      authorization: request.headers.authorization,
      onCdn,
    };
    const fault = this.behave(seen, this.requests.push(seen) - 1);
    this.#answer(seen, response, fault).catch(() => response.destroy());
  }

  async #answer(seen: SeenRequest, response: ServerResponse, fault: Fault | null): Promise<void> {
    if (fault?.kind === 'status') {
      response.writeHead(fault.status, fault.headers).end();
      return;
    }
    if (fault?.kind === 'redirect') {
      response.writeHead(302, { location: fault.to }).end();
      return;
    }
    if (seen.path.startsWith(`/api/models/${this.repository}/revision/`)) {
      await this.#send(response, Buffer.from(JSON.stringify(this.#listing())), 200, {}, fault);
      return;
    }
    const prefixes = [this.commit, 'main'].map((at) => `/${this.repository}/resolve/${at}/`);
    const file = this.files.find(({ path }) =>
      prefixes.some((prefix) => seen.path === prefix + path),
    );
    if (file === undefined) response.writeHead(404).end();
    else if (file.lfs && !seen.onCdn) this.#redirect(seen, response, file);
    else await this.#sendFile(seen, response, file, fault);
  }

  #redirect(seen: SeenRequest, response: ServerResponse, file: FakeFile): void {
    const headers = {
      location: this.cdnUrl + seen.path,
      'x-repo-commit': this.commit,
      'x-linked-size': file.bytes.length,
      'x-linked-etag': `"${blobName(file)}"`,
    };
    response.writeHead(302, headers).end();
  }

  async #sendFile(
    seen: SeenRequest,
    response: ServerResponse,
    file: FakeFile,
    fault: Fault | null,
  ): Promise<void> {
    const etag = { etag: `"${blobName(file)}"`, 'x-repo-commit': this.commit };
    if (seen.method === 'HEAD') {
      response.writeHead(200, { ...etag, 'content-length': file.bytes.length }).end();
      return;
    }
    const match = /^bytes=(\d+)-(\d+)$/.exec(seen.range ?? '');
    if (match === null || fault?.kind === 'ignoreRange') {
      await this.#send(response, file.bytes, 200, etag, fault, true);
      return;
    }
    const [, start = '', last = ''] = match;
    if (Number(start) >= file.bytes.length) {
      response.writeHead(416).end();
      return;
    }
    const body = file.bytes.subarray(Number(start), Number(last) + 1);
    const shift = fault?.kind === 'shiftRange' ? 1 : 0;
    const end = Number(start) + body.length - 1;
    const range = `bytes ${Number(start) + shift}-${end + shift}/${file.bytes.length}`;
    await this.#send(response, body, 206, { ...etag, 'content-range': range }, fault, true);
  }

  async #send(
    response: ServerResponse,
    whole: Uint8Array,
    status: number,
    headers: Record<string, string>,
    fault: Fault | null,
    isFile = false,
  ): Promise<void> {
    const body = changed(whole, fault);
    response.writeHead(status, { ...headers, 'content-length': body.length });
    const limit = fault?.kind === 'stall' || fault?.kind === 'cut' ? fault.afterBytes : body.length;
    const piece = fault?.kind === 'drip' ? 1 : 16 * 1024;
    for (let sent = 0; sent < Math.min(limit, body.length); ) {
      if (response.destroyed) return;
      const chunk = body.subarray(sent, Math.min(sent + piece, limit));
      if (isFile) this.fileBytesSent += chunk.length;
      await new Promise<void>((resolve) => {
        response.once('close', resolve);
        response.write(chunk, () => resolve());
      });
      response.removeAllListeners('close');
      sent += chunk.length;
      if (fault?.kind === 'drip') await sleep(20);
      if (fault?.kind === 'slow') await sleep((1000 * chunk.length) / fault.bytesPerS);
    }
    if (fault?.kind === 'cut') response.destroy();
    else if (fault?.kind !== 'stall') response.end();
  }

  #listing(): unknown {
    const siblings = this.files.map((file) => {
      const name = { rfilename: file.path };
      if (this.bareListing) return name;
      const facts = { ...name, size: file.bytes.length, blobId: gitSha1(file.bytes) };
      const lfs = { sha256: blobName(file), size: file.bytes.length, pointerSize: 134 };
      return file.lfs ? { ...facts, lfs } : facts;
    });
    return this.editListing({ id: this.repository, sha: this.commit, private: false, siblings });
  }
}

function portOf(server: Server): number {
  const address = server.address();
  if (address === null || typeof address === 'string') throw new Error('the fake hub is stopped');
  return address.port;
}

function changed(bytes: Uint8Array, fault: Fault | null): Uint8Array {
  if (fault?.kind === 'corrupt') {
    const copy = Uint8Array.from(bytes);
    copy[0] = (copy[0] ?? 0) ^ 1;
    return copy;
  }
  if (fault?.kind !== 'length') return bytes;
  if (fault.change < 0) return bytes.subarray(0, Math.max(0, bytes.length + fault.change));
  return Buffer.concat([bytes, Buffer.alloc(fault.change)]);
}
