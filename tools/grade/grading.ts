/**
 * The grading of one submission: all its experiments, and what they mean together.
 *
 * @module
 */

import type { Experiment } from "./experiment.ts";
import { SUBMISSION_MS } from "./limits.ts";
import { type CheckResult, type Graded, type Outcome, Trouble, type Verdict } from "./outcome.ts";
import { isPython, type Submission } from "./submission.ts";
import { CHECKS, type CheckText, HARDSHIPS } from "./texts.ts";

/** What a check has come to, before points and advice are added. */
interface Finding {
  readonly check: CheckText;
  readonly outcome: Outcome;
  readonly seconds: number;
}

/** What is to be graded, and how. */
export interface Order {
  /** The submission. */
  readonly submission: Submission;
  /** The checks, in the order of the table. */
  readonly checks: readonly CheckText[];
  /** The points of each check, by name. */
  readonly points: ReadonlyMap<string, number>;
  /** Makes an experiment with the submission, in a sandbox or here. */
  readonly perform: (experiment: Experiment) => Promise<Outcome>;
  /** Called when a check begins. */
  readonly onCheck: (name: string) => void;
  /** Whether experiments can be made side by side: each has a sandbox of its own. */
  readonly isSandboxed: boolean;
}

/** Grades one submission. Trouble of the grader's own is no mark, and does not end the others. */
export async function gradeSubmission(order: Order): Promise<Graded> {
  const begin = performance.now();
  try {
    const findings = await new Grading(order).run();
    return gradedOf(order, findings, "", seconds(begin));
  } catch (error) {
    const trouble = (error as Error).message;
    const nothing = order.checks.map((check): Finding => ({
      check,
      outcome: notJudged("it could not be graded"),
      seconds: 0,
    }));
    return gradedOf(order, nothing, trouble, seconds(begin));
  }
}

function gradedOf(order: Order, findings: Finding[], trouble: string, seconds: number): Graded {
  const checks = findings.map((finding) => resultOf(finding, order));
  const sum = (numbers: number[]) => numbers.reduce((total, number) => total + number, 0);
  return {
    name: order.submission.name,
    path: order.submission.path,
    points: trouble === "" ? sum(checks.map(({ points }) => points)) : null,
    maxPoints: sum(checks.map(({ maxPoints }) => maxPoints)),
    trouble,
    checks,
    lastWords: lastWordsOf(findings.map(({ outcome }) => outcome)),
    seconds,
  };
}

/** What the server said last where it missed something; else in the first check. */
function lastWordsOf(outcomes: Outcome[]): string {
  const missed = outcomes.find(({ verdict, lastWords }) => verdict === "miss" && lastWords !== "");
  return (missed ?? outcomes[0])?.lastWords ?? "";
}

function seconds(begin: number): number {
  return Math.round((performance.now() - begin) / 100) / 10;
}

function resultOf({ check, outcome, seconds }: Finding, order: Order): CheckResult {
  const { verdict, seen, note, advice, output } = outcome;
  const maxPoints = order.points.get(check.name) ?? 0;
  const isMiss = verdict === "miss";
  const hasPython = isMiss && advice === "" && isPython(order.submission);
  return {
    name: check.name,
    part: check.part,
    verdict,
    points: verdict === "pass" ? maxPoints : 0,
    maxPoints,
    done: check.done,
    expected: check.expected,
    seen,
    note,
    change: isMiss ? advice || check.change : "",
    inPython: hasPython ? check.inPython : "",
    output,
    seconds,
  };
}

/** Experiments with one submission that are made at once, each in its sandbox. */
const AT_ONCE = 3;

/** The check that shows whether the server starts. */
const STARTS = "says where";
/** The checks without which no client is served at all. What needs one of them is not even run. */
const FIRST_CLIENT = [STARTS, "greets", "acknowledges", "prints"];

/** The state of one grading: the experiments that were made, and what clients have met in them. */
class Grading {
  readonly #deadline = performance.now() + SUBMISSION_MS;
  readonly #outcomes = new Map<string, Promise<Outcome>>();
  readonly #passed = new Set<string>();
  readonly #met = new Set<string>();
  /** The check that was made last: after it, a server that was not started here may be gone. */
  #last = "";
  #isGone = false;

  constructor(readonly order: Order) {}

  /**
   * The first check shows whether the server starts, the next ones whether it serves anybody. Where
   * each experiment has a sandbox, they are made side by side, the longest first.
   */
  async run(): Promise<Finding[]> {
    const checks = this.#inOrder();
    const [start, first, others] = [[STARTS], FIRST_CLIENT, checks.map(({ name }) => name)];
    const findings: Finding[] = [];
    for (const names of [start, first, others]) {
      const isDue = ({ name }: CheckText) =>
        names.includes(name) && findings.every(({ check }) => check.name !== name);
      findings.push(...await this.#findAll(checks.filter(isDue)));
    }
    const place = (finding: Finding) => this.order.checks.indexOf(finding.check);
    return findings.sort((one, other) => place(one) - place(other));
  }

  /** A server that runs already meets good clients first, and hostile ones last. */
  #inOrder(): CheckText[] {
    const hardship = ({ name }: CheckText) => HARDSHIPS.indexOf(name);
    const length = ({ isLong }: CheckText) => isLong ? 0 : 1;
    return this.order.checks.toSorted((one, other) =>
      this.#isRunning() ? hardship(one) - hardship(other) : length(one) - length(other)
    );
  }

  #findAll(checks: CheckText[]): Promise<Finding[]> {
    const places = this.order.isSandboxed ? AT_ONCE : 1;
    return sideBySide(checks, places, (check) => this.#find(check));
  }

  async #find(check: CheckText): Promise<Finding> {
    const begin = performance.now();
    this.order.onCheck(check.name);
    const outcome = await this.#judge(check);
    return { check, outcome, seconds: seconds(begin) };
  }

  /** A pass stands for itself. A miss counts where everything is there that the check builds on. */
  async #judge(check: CheckText): Promise<Outcome> {
    const reason = this.#whyNotRun(check);
    if (reason !== "") return notJudged(reason);
    const outcome = await this.#outcomeOf(check);
    const isMiss = outcome.verdict === "miss";
    if (isMiss && outcome.met.length === 0 && this.#isRunning()) return this.#gone(outcome);
    this.#last = check.name;
    if (!isMiss) return outcome;
    for (const need of check.needs) {
      if (await this.#has(need)) continue;
      return { ...outcome, verdict: "not judged", seen: this.#buildsOn(need), advice: "" };
    }
    return outcome;
  }

  /** A server that was not started here accepts nobody: it was never there, or it has ended. */
  #gone({ seen }: Outcome): Outcome {
    if (this.#met.size === 0) throw new Trouble(`${seen}: start the server first`);
    this.#isGone = true;
    return notJudged(this.#whoEndedIt());
  }

  #whoEndedIt(): string {
    return `the server has ended, probably by "${this.#last}"`;
  }

  #whyNotRun(check: CheckText): string {
    if (this.#isRunning() && check.isLocal) return "it was not started here";
    if (this.#isGone) return this.#whoEndedIt();
    if (performance.now() > this.#deadline) {
      return `the ${SUBMISSION_MS / 1000} s for a submission are over`;
    }
    const missing = this.#missingFor(check);
    return missing === undefined ? "" : this.#buildsOn(missing);
  }

  /** What shows already that no client is served: what this check builds on, directly or not. */
  #missingFor(check: CheckText): string | undefined {
    for (const need of check.needs) {
      const missing = this.#missingFor(named(need));
      if (missing !== undefined) return missing;
      const isKnown = FIRST_CLIENT.includes(need) && this.#outcomes.has(need);
      if (isKnown && !this.#isThere(need)) return need;
    }
  }

  #buildsOn(need: string): string {
    return `it builds on "${need}", which is not there`;
  }

  #isThere(name: string): boolean {
    return this.#passed.has(name) || this.#met.has(name);
  }

  /** Whether this check is passed, or a client has met its subject; it is made if need be. */
  async #has(name: string): Promise<boolean> {
    if (this.#isThere(name)) return true;
    if (!this.#isRunning()) await this.#outcomeOf(named(name));
    else if (!this.#outcomes.has(name)) return true; // the server is in an unknown state
    return this.#isThere(name);
  }

  /** The outcome of a check's experiments, which are made once. */
  #outcomeOf(check: CheckText): Promise<Outcome> {
    const known = this.#outcomes.get(check.name) ?? this.#experiment(check);
    this.#outcomes.set(check.name, known);
    return known;
  }

  async #experiment(check: CheckText): Promise<Outcome> {
    const kinds = check.kinds ?? [check.name];
    const attempt = (kind: string) => this.order.perform({ check: check.name, kind });
    const outcomes = await sideBySide(kinds, this.order.isSandboxed ? kinds.length : 1, attempt);
    for (const { met } of outcomes) met.forEach((name) => this.#met.add(name));
    const outcome = check.kinds ? together(outcomes, kinds) : outcomes[0];
    if (outcome.verdict === "pass") this.#passed.add(check.name);
    return outcome;
  }

  #isRunning(): boolean {
    return this.order.submission.command.length === 0;
  }
}

function named(name: string): CheckText {
  const check = CHECKS.find((row) => row.name === name);
  if (!check) throw new Error(`There is no check ${name}`);
  return check;
}

/** Does this work on all items, on so many of them at once; the results are in their order. */
export async function sideBySide<T, U>(
  items: readonly T[],
  places: number,
  work: (item: T) => Promise<U>,
): Promise<U[]> {
  const results: U[] = [];
  const left = items.entries();
  const worker = async () => {
    for (const [index, item] of left) results[index] = await work(item);
  };
  await Promise.all(Array.from({ length: places }, worker));
  return results;
}

function notJudged(seen: string): Outcome {
  const nothing = { note: "", advice: "", met: [], output: [], lastWords: "" };
  return { verdict: "not judged", seen, ...nothing };
}

/** One outcome of those of several kinds of clients: all must succeed. */
function together(outcomes: Outcome[], kinds: string[]): Outcome {
  const verdicts: Verdict[] = ["miss", "not judged", "pass"];
  const verdict = verdicts.find((one) => outcomes.some((outcome) => outcome.verdict === one));
  const shown = outcomes.find((outcome) => outcome.verdict === verdict) ?? outcomes[0];
  if (verdict !== "miss") return shown;
  const names = kinds.filter((_, index) => outcomes[index].verdict === "miss").join(", ");
  return { ...shown, seen: `${names}: ${shown.seen}` };
}
