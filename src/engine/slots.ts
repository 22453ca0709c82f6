import { invariant } from '../base/error.ts';

/** What a slot of the executor holds, and who uses it. */
interface Slot {
  readonly index: number;
  /** Tokens whose keys and values completed steps have put into the slot, from position 0 on. */
  tokens: number[];
  /** Positions that the executor holds for it when every step planned so far has run. */
  held: number;
  owner: string | null;
  /** Order of the last use, for taking the one unused longest. */
  usedAt: number;
}

/** A place for a sequence: where its computed prefix comes from. */
export interface Claim {
  readonly slot: number;
  /** Positions that need no computing. */
  readonly reused: number;
  /** The slot they are copied from; null when they are there already. */
  readonly copyFrom: number | null;
}

/**
 * The executor's slots as the scheduler sees them. A finished sequence leaves its positions behind:
 * the next one that begins with the same tokens takes them over, so that a growing conversation and
 * a common system prompt are computed once. What fits the memory stays, the slot unused longest
 * goes first.
 */
export class Slots {
  readonly #slots: Slot[];
  readonly #budget: number;
  readonly #granularity: number;
  #clock = 0;
  #retired: number[] = [];

  /**
   * `budgetPositions`: positions that all slots together may hold, each slot rounded up to
   * `granularity`.
   */
  constructor(count: number, budgetPositions: number, granularity: number) {
    this.#slots = Array.from({ length: count }, (_, index) => ({
      index,
      tokens: [],
      held: 0,
      owner: null,
      usedAt: 0,
    }));
    this.#budget = budgetPositions;
    this.#granularity = granularity;
  }

  /**
   * A slot for `tokens`, with the longest computed prefix of at most `reusableMax` positions that
   * can be had; null when every slot has an owner.
   */
  claim(owner: string, tokens: readonly number[], reusableMax: number): Claim | null {
    const free = this.#slots.filter((slot) => slot.owner === null);
    if (free.length === 0) return null;
    const source = this.#longestPrefix(tokens, reusableMax);
    const oldest = free.reduce((a, b) => (keepsLess(a, b) ? a : b));
    const target = source === null ? oldest : targetFor(source.slot, source.length, free, oldest);
    const reused = source?.length ?? 0;
    const copyFrom = source === null || source.slot === target ? null : source.slot.index;
    target.tokens = tokens.slice(0, reused);
    target.owner = owner;
    target.usedAt = ++this.#clock;
    return { slot: target.index, reused, copyFrom };
  }

  /** Whether some slot has no owner. */
  get hasFree(): boolean {
    return this.#slots.some((slot) => slot.owner === null);
  }

  /** Where the longest prefix of `tokens` lies, of at most `reusableMax` positions. */
  prefixOf(
    tokens: readonly number[],
    reusableMax: number,
  ): { readonly slot: number; readonly length: number } | null {
    const found = this.#longestPrefix(tokens, reusableMax);
    return found === null ? null : { slot: found.slot.index, length: found.length };
  }

  #longestPrefix(
    tokens: readonly number[],
    reusableMax: number,
  ): { slot: Slot; length: number } | null {
    let best: { slot: Slot; length: number } | null = null;
    for (const slot of this.#slots) {
      const length = Math.min(commonPrefixLength(slot.tokens, tokens), reusableMax);
      if (length <= 0) continue;
      // Of equals the free one: it can be taken over without a copy.
      if (best === null || length > best.length || (length === best.length && slot.owner === null))
        best = { slot, length };
    }
    return best;
  }

  /** The executor has computed these tokens of the slot's owner. */
  extend(index: number, tokens: readonly number[]): void {
    const slot = this.#at(index);
    slot.tokens.push(...tokens);
    slot.usedAt = ++this.#clock;
  }

  /** A planned step leaves so many positions in the slot. */
  hold(index: number, positions: number): void {
    this.#at(index).held = positions;
  }

  /** Whether planned steps leave anything in the slot. */
  holdsAny(index: number): boolean {
    return this.#at(index).held > 0;
  }

  /** The owner has left; what was computed stays for others. */
  release(index: number): void {
    this.#at(index).owner = null;
  }

  /** Forgets what a free slot holds. */
  forget(index: number): void {
    const slot = this.#at(index);
    slot.tokens = [];
    slot.held = 0;
    this.#retired.push(index);
  }

  /**
   * Makes room for `positions` more by forgetting free slots, oldest first; `kept` names slots that
   * must stay. False when running sequences alone leave too little.
   */
  makeRoom(positions: number, kept: ReadonlySet<number>): boolean {
    while (this.heldPositions() + positions > this.#budget) {
      const idle = this.#slots.filter(
        (slot) => slot.owner === null && slot.held > 0 && !kept.has(slot.index),
      );
      if (idle.length === 0) return false;
      this.forget(idle.reduce((a, b) => (a.usedAt < b.usedAt ? a : b)).index);
    }
    return true;
  }

  /** Positions that it takes to leave `positions` in the slot, beyond those that it holds. */
  growth(index: number, positions: number): number {
    return this.rounded(positions) - this.rounded(this.#at(index).held);
  }

  rounded(positions: number): number {
    return Math.ceil(positions / this.#granularity) * this.#granularity;
  }

  heldPositions(): number {
    return this.#slots.reduce((sum, slot) => sum + this.rounded(slot.held), 0);
  }

  /**
   * Slots forgotten since the last call and not filled again, for the next plan; those in `later`
   * wait for the one after it, since this plan still copies from them.
   */
  takeRetired(later: ReadonlySet<number>): number[] {
    const empty = [...new Set(this.#retired)].filter((slot) => this.#at(slot).held === 0);
    this.#retired = empty.filter((slot) => later.has(slot));
    return empty.filter((slot) => !later.has(slot));
  }

  #at(index: number): Slot {
    const slot = this.#slots[index];
    invariant(slot !== undefined, `slot ${index} does not exist`);
    return slot;
  }
}

/**
 * The slot that holds the prefix itself when taking it over loses little, else the one least worth
 * keeping.
 */
function targetFor(source: Slot, length: number, free: readonly Slot[], oldest: Slot): Slot {
  if (source.owner !== null) return oldest;
  const losesLittle = length * 2 >= source.tokens.length || free.length === 1;
  return losesLittle || oldest === source ? source : oldest;
}

function keepsLess(a: Slot, b: Slot): boolean {
  if ((a.tokens.length === 0) !== (b.tokens.length === 0)) return a.tokens.length === 0;
  return a.usedAt < b.usedAt;
}

export function commonPrefixLength(a: readonly number[], b: readonly number[]): number {
  const limit = Math.min(a.length, b.length);
  let length = 0;
  while (length < limit && a[length] === b[length]) length++;
  return length;
}
