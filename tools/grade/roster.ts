/**
 * Who is in the class, from a file with a name or an id in each line, and who of them has handed in.
 *
 * @module
 */

import { type Roster, UsageError } from "./outcome.ts";
import { studentOf } from "./names.ts";
import { printable } from "../shared/text.ts";
import type { Submission } from "./submission.ts";

/**
 * The lines of a roster that are not empty, each once.
 *
 * @throws {UsageError} When there is no such file, it is no text, or it names nobody.
 */
export function readRoster(path: string): string[] {
  const lines = textOf(path).split(/\r?\n/).map((line) => {
    return printable(line.trim().replace(/^"(.*)"$/, "$1"));
  });
  const students = [...new Set(lines)].filter((line) => line !== "");
  if (students.length === 0) {
    throw new UsageError(`--roster: ${path} has no names`);
  }
  return students;
}

function textOf(path: string): string {
  try {
    return new TextDecoder("utf-8", { fatal: true }).decode(
      Deno.readFileSync(path),
    );
  } catch (error) {
    const isCoded = error instanceof TypeError;
    const why = isCoded ? "it is no text in UTF-8" : (error as Error).message;
    throw new UsageError(`--roster: cannot read ${path}: ${why}`);
  }
}

/** The submissions, called as the roster calls the students, and who is in one of both alone. */
export function compareWithRoster(
  students: readonly string[],
  submissions: Submission[],
) {
  const found = submissions.map((submission) => studentFor(submission, students));
  const named = submissions.map((submission, index) => {
    const student = found[index];
    const isOnly = found.filter((other) => other === student).length === 1;
    return student !== undefined && isOnly ? { ...submission, name: student } : submission;
  });
  const roster: Roster = {
    students,
    missing: students.filter((student) => !found.includes(student)),
    unexpected: named.filter((_, index) => found[index] === undefined).map((
      { name },
    ) => name),
  };
  return { submissions: named, roster };
}

/** The student of the roster who has handed this in: nobody, too, if it could be one of several. */
function studentFor(
  { name, path }: Submission,
  students: readonly string[],
): string | undefined {
  const onPlatform = studentOf(path);
  const written = [name, onPlatform?.name ?? "", onPlatform?.id ?? ""].filter((
    text,
  ) => text !== "");
  const spelled = written.map(spelling);
  const alike = students.filter((student) => spelled.includes(spelling(student)));
  const turned = students.filter((student) => {
    return turns(student).some((spelling) => spelled.includes(spelling));
  });
  const candidates = alike.length > 0 ? alike : turned;
  return candidates.length === 1 ? candidates[0] : undefined;
}

/** A name without what platforms and people write differently: capitals, accents, spaces, signs. */
function spelling(name: string): string {
  return name.normalize("NFKD").toLowerCase().replace(/[^\p{L}\p{N}]/gu, "");
}

/** A name begun at each of its words: `Alice Brown` is `brownalice` in Canvas's files. */
function turns(name: string): string[] {
  const words = name.split(/\s+/);
  return words.map((_, first) =>
    spelling([...words.slice(first), ...words.slice(0, first)].join(""))
  );
}
