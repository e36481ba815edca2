/**
 * The grading of one submission: all its experiments, and what they mean together.
 *
 * @module
 */

import type { Experiment } from "./experiment.ts";
import { SUBMISSION_MS } from "./limits.ts";
import type { CheckResult, Graded, Outcome, Verdict } from "./outcome.ts";
import { isPython, type Submission } from "./submission.ts";
import { type Control, SERVES } from "./controls.ts";
import type { CheckText } from "./texts.ts";

/** How an experiment is made: in a sandbox or here. */
export type Perform = (experiment: Experiment) => Promise<Outcome>;

/** What a check has come to, before points and advice are added. */
interface Finding {
  readonly check: CheckText;
  readonly verdict: Verdict;
  readonly seen: string;
  readonly note: string;
  readonly output: string[];
  readonly lastWords: string;
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
  /** Makes an experiment with the submission. */
  readonly perform: Perform;
  /** Whether experiments can be made side by side: each has a sandbox of its own. */
  readonly isSandboxed: boolean;
  /** Called when what is left to do is mostly waiting: the next submission can begin. */
  readonly whenIdle: () => void;
}

/** Grades one submission. */
export async function gradeSubmission(order: Order): Promise<Graded> {
  const begin = performance.now();
  const findings = await new Grading(order).run();
  const checks = findings.map((finding) => resultOf(finding, order));
  const sum = (numbers: number[]) =>
    numbers.reduce((total, number) => total + number, 0);
  return {
    name: order.submission.name,
    path: order.submission.path,
    points: sum(checks.map(({ points }) => points)),
    maxPoints: sum(checks.map(({ maxPoints }) => maxPoints)),
    trouble: "",
    checks,
    lastWords: lastWordsOf(findings),
    seconds: seconds(begin),
  };
}

/** What the server said last where it missed something; else in the first check. */
function lastWordsOf(findings: Finding[]): string {
  const missed = findings.find(({ verdict, lastWords }) =>
    verdict === "miss" && lastWords !== ""
  );
  return (missed ?? findings[0])?.lastWords ?? "";
}

function seconds(begin: number): number {
  return Math.round((performance.now() - begin) / 100) / 10;
}

function resultOf(
  finding: Finding,
  { points, submission }: Order,
): CheckResult {
  const { check, verdict, seen, note, output } = finding;
  const maxPoints = points.get(check.name) ?? 0;
  const isMiss = verdict === "miss";
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
    change: isMiss ? check.change : "",
    inPython: isMiss && isPython(submission) ? check.inPython : "",
    output,
    seconds: finding.seconds,
  };
}

/** Experiments with one submission that are made at once, each in its sandbox. */
const AT_ONCE = 2;

/** The state of one grading: whether the server starts at all, and the controls that were made. */
class Grading {
  /** Why no further experiment can succeed. */
  #hopeless = "";
  readonly #deadline = performance.now() + SUBMISSION_MS;
  #servesNobody = false;
  readonly #controls = new Map<Control, Promise<Outcome>>();

  constructor(readonly order: Order) {}

  /**
   * The first check shows whether the server starts, and the first control whether it serves anybody.
   * Where each experiment has a sandbox, the others are made two at once, since most of one is
   * waiting; those that only wait run beside them.
   */
  async run(): Promise<Finding[]> {
    const [first, ...others] = this.order.checks;
    const findings = [await this.#find(first)];
    await this.#seeWhetherItServes();
    const { isSandboxed } = this.order;
    const aside = others.filter(({ isIdle }) => isSandboxed && isIdle === true);
    const left = others.filter((check) => !aside.includes(check));
    const waiting = aside.map((check) => this.#find(check));
    const work = async () => {
      for (let next = left.shift(); next !== undefined; next = left.shift()) {
        findings.push(await this.#find(next));
      }
    };
    await Promise.all(Array.from({ length: isSandboxed ? AT_ONCE : 1 }, work));
    this.order.whenIdle();
    findings.push(...await Promise.all(waiting));
    const place = (finding: Finding) =>
      this.order.checks.indexOf(finding.check);
    return findings.sort((one, other) => place(one) - place(other));
  }

  async #find(check: CheckText): Promise<Finding> {
    const begin = performance.now();
    const kinds = check.kinds ?? [check.name];
    const outcomes = await this.#each(kinds, (kind) => this.#try(check, kind));
    const outcome = check.kinds ? together(outcomes, kinds) : outcomes[0];
    const judged = await this.#compare(check, outcome);
    const { note, output, lastWords } = outcome;
    return {
      check,
      ...judged,
      note,
      output,
      lastWords,
      seconds: seconds(begin),
    };
  }

  /** Side by side where each has a sandbox. */
  async #each(
    kinds: string[],
    attempt: (kind: string) => Promise<Outcome>,
  ): Promise<Outcome[]> {
    if (this.order.isSandboxed) return await Promise.all(kinds.map(attempt));
    const outcomes: Outcome[] = [];
    for (const kind of kinds) outcomes.push(await attempt(kind));
    return outcomes;
  }

  /** The checks that are compared with a good client are not made if not even one is served. */
  async #seeWhetherItServes(): Promise<void> {
    if (this.#isRunning() || this.#hopeless !== "") return;
    const { verdict } = await this.#control(SERVES);
    this.#servesNobody = verdict === "miss";
  }

  async #try(check: CheckText, kind: string): Promise<Outcome> {
    if (check.isLocal && this.#isRunning()) {
      return notJudged("it was not started here");
    }
    if (performance.now() > this.#deadline) {
      this.#hopeless ||= `the ${
        SUBMISSION_MS / 1000
      } s for a submission are over`;
    }
    if (this.#hopeless !== "") return notJudged(this.#hopeless);
    if (this.#servesNobody && (check.control || check.kinds)) {
      return notJudged(SERVES.otherwise);
    }
    const outcome = await this.#perform({ check: check.name, kind });
    if (!outcome.met.includes("says where")) {
      this.#hopeless = outcome.verdict === "miss"
        ? "the server does not start"
        : outcome.seen;
    }
    return outcome;
  }

  /** What goes wrong in the grader itself is no fault of the server, and does not end the others. */
  async #perform(experiment: Experiment): Promise<Outcome> {
    try {
      return await this.order.perform(experiment);
    } catch (error) {
      return {
        ...notJudged(`it could not be graded: ${(error as Error).message}`),
        met: [],
      };
    }
  }

  /** A miss says nothing about this check if a good client in its place fares no better. */
  async #compare({ control }: CheckText, { verdict, seen }: Outcome) {
    const isFinal = verdict !== "miss" || !control || this.#isRunning() ||
      this.#hopeless !== "";
    if (isFinal || (await this.#control(control)).verdict === "pass") {
      return { verdict, seen };
    }
    return { verdict: "not judged" as const, seen: control.otherwise };
  }

  /** The outcome of a control, which is made once. */
  #control(control: Control): Promise<Outcome> {
    const known = this.#controls.get(control) ??
      this.#perform({ control: control.name });
    this.#controls.set(control, known);
    return known;
  }

  /** A server that runs already is in an unknown state: there is nothing to compare with. */
  #isRunning(): boolean {
    return this.order.submission.command.length === 0;
  }
}

function notJudged(seen: string): Outcome {
  const met = ["says where"];
  return {
    verdict: "not judged",
    seen,
    note: "",
    advice: "",
    met,
    output: [],
    lastWords: "",
  };
}

/** One outcome of those of several kinds of clients: a miss if one of them is. */
function together(outcomes: Outcome[], kinds: string[]): Outcome {
  const of = (verdict: Verdict) =>
    outcomes.filter((outcome) => outcome.verdict === verdict);
  const [missed, passed] = [of("miss"), of("pass")];
  const shown = [...missed, ...passed, ...outcomes][0];
  if (missed.length > 0) {
    const names = kinds.filter((_, index) => outcomes[index].verdict === "miss")
      .join(", ");
    return { ...shown, seen: `${names}: ${shown.seen}` };
  }
  return shown;
}
