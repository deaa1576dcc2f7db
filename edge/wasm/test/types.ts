// Compiled, not run: the types must let right programs through, and stop these wrong ones.
import { Plimsoll, Refused } from "../plimsoll.js";

export async function limits(files: Map<string, Uint8Array>, root: Uint8Array, now: number): Promise<number[]> {
  const plimsoll = await Plimsoll.load(fetch("plimsoll.wasm"));
  const evaluator = plimsoll.open({ files, root, now });
  // @ts-expect-error a kind that does not exist
  evaluator.evaluate({ history: { profile: profile(now), opening_minor: 0, at: now, rows: [{ at: 0, amount_minor: 1, kind: "gift" }] } });
  // @ts-expect-error the history is missing
  evaluator.evaluate({ now });
  try {
    const answer = evaluator.evaluate({ history: { profile: profile(now), opening_minor: 10_000, rows: [], at: now } });
    return answer.curve.map((point) => point.decision.limit);
  } catch (error) {
    if (error instanceof Refused && error.code === "request") return [];
    throw error;
  } finally {
    evaluator.free();
  }
}

const profile = (at: number) => ({ opened_at: at, tier: 1, attested: true, offset: 480, currency: "MYR/2" }) as const;

export function pay(device: ReturnType<Plimsoll["device"]>, now: number): string {
  const request = { payee: "m", amt: 100, cur: "MYR/2", nonce: "AAAAAAAAAAAAAAAAAAAAAA", iat: now, exp: now + 300 };
  const decided = device.command("authorise", { request, now });
  // @ts-expect-error the time is missing
  device.command("limit");
  const files: { [name: string]: string } | null = device.command("files");
  if (files === null) throw new Error("a browser has no directory");
  // @ts-expect-error only an approved payment has a token
  decided.token;
  switch (decided.decision) {
    case "approve":
      return "jws" in decided.token ? decided.token.jws : decided.token.cwt;
    case "step_up":
      return `prove presence above ${decided.left.without_proof}`;
    case "decline":
      return decided.says;
  }
}
