import { CideryError, errorMessage } from '../src/base/error.ts';
import { seededNumbers } from '../test/support/seeded-numbers.ts';
import { type Answer, questions, streamAnswer } from './answers.ts';

/** What a client saw of one answer under load; times in milliseconds of this process's clock. */
export interface AnswerRecord {
  readonly question: number;
  readonly startedAt: number;
  readonly endedAt: number;
  /** When text came, in order. */
  readonly times: readonly number[];
  /** Null: as the undisturbed answer. */
  readonly wrong: string | null;
}

/** Clients that ask again and again, and compare what they get with the undisturbed answers. */
export class Load {
  readonly #url: string;
  readonly #model: string;
  readonly #expected: readonly Answer[];
  readonly #clients: Promise<void>[] = [];
  readonly records: AnswerRecord[] = [];
  #stopping = false;

  constructor(url: string, model: string, expected: readonly Answer[]) {
    this.#url = url;
    this.#model = model;
    this.#expected = expected;
  }

  /** Every question's answer while nothing goes wrong. */
  static async undisturbed(url: string, model: string): Promise<Answer[]> {
    const answers: Answer[] = [];
    for (const question of questions) {
      answers.push(await streamAnswer(url, model, question, () => {}));
    }
    return answers;
  }

  start(clients: number, seed: number): void {
    for (let client = 0; client < clients; client++) {
      this.#clients.push(this.#run(seededNumbers(seed * 1_000 + client)));
    }
  }

  /** No client asks again. */
  stop(): void {
    this.#stopping = true;
  }

  /** As `stop`; resolves when all have their answers. */
  async end(): Promise<void> {
    this.stop();
    await Promise.all(this.#clients);
  }

  async #run(dice: (limit: number) => number): Promise<void> {
    while (!this.#stopping) {
      const question = dice(questions.length);
      const startedAt = performance.now();
      const times: number[] = [];
      const wrong = await this.#ask(question, times).catch(errorMessage);
      this.records.push({ question, startedAt, endedAt: performance.now(), times, wrong });
    }
  }

  async #ask(index: number, times: number[]): Promise<string | null> {
    const question = questions[index];
    const expected = this.#expected[index];
    if (question === undefined || expected === undefined) {
      throw new CideryError('internal', `question ${index} does not exist`);
    }
    const onText = () => times.push(performance.now());
    const answer = await streamAnswer(this.#url, this.#model, question, onText);
    return difference(answer, expected);
  }
}

function difference(answer: Answer, expected: Answer): string | null {
  if (JSON.stringify(answer) === JSON.stringify(expected)) return null;
  const choice = answer.texts.findIndex((text, index) => text !== expected.texts[index]);
  if (choice < 0) return `other ends or counts: ${JSON.stringify({ ...answer, texts: [] })}`;
  const [got = '', wanted = ''] = [answer.texts[choice], expected.texts[choice]];
  let at = 0;
  while (at < got.length && got[at] === wanted[at]) at++;
  const show = (text: string) => JSON.stringify(text.slice(at, at + 40));
  return `choice ${choice} differs from character ${at} on: ${show(got)}, not ${show(wanted)}`;
}
