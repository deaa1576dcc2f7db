// Made-up accounts to ask about, each a life of 150 days before the sync. Nobody's data.

const DAY = 86_400;
const KINDS = { in: "income", reload: "reload", buy: "purchase", bill: "bill", send: "transfer_out" };

/** Knuth's MMIX recurrence in 32 bits: the same account every time. */
function numbers(seed) {
  let state = seed >>> 0;
  return (below) => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return (state >>> 8) % below;
  };
}

/**
 * The kinds of account. `day(day, next)` gives that day's movements: [kind, major units, payee, hour].
 */
export const PROFILES = {
  salaried: {
    name: "Salaried",
    about: "Pay on the 1st, rent on the 5th, small daily spending",
    seed: 7,
    day: (day, next) => [
      ...(day % 30 === 0 ? [["in", 3_200, 1, 9]] : []),
      ...(day % 30 === 4 ? [["bill", 900, 2, 10]] : []),
      ...(day % 30 === 12 ? [["bill", 180, 3, 10]] : []),
      ["buy", 8 + next(14), 10 + next(5), 12],
      ...(next(3) === 0 ? [["buy", 20 + next(60), 20 + next(9), 19]] : []),
    ],
  },
  hawker: {
    name: "Market trader",
    about: "Takings every day, stock bought every third",
    seed: 11,
    day: (day, next) => [
      ["in", 90 + next(120), 30 + next(40), 20],
      ...(day % 3 === 0 ? [["send", 260 + next(90), 4, 6]] : []),
      ["buy", 15 + next(20), 10 + next(4), 13],
    ],
  },
  student: {
    name: "Student",
    about: "A reload when it runs low, and it runs low often",
    seed: 23,
    day: (day, next) => [
      ...(day % 9 === 2 ? [["reload", 60 + next(3) * 20, 1, 18]] : []),
      ["buy", 4 + next(7), 10 + next(6), 13],
      ...(next(6) === 0 ? [["send", 15 + next(25), 40 + next(6), 21]] : []),
    ],
  },
  gig: {
    name: "Rider",
    about: "Paid weekly, petrol and bills in between",
    seed: 31,
    day: (day, next) => [
      ...(day % 7 === 1 ? [["in", 380 + next(160), 1, 11]] : []),
      ...(day % 30 === 15 ? [["bill", 420, 2, 10]] : []),
      ["buy", 18 + next(16), 10 + next(3), 8],
      ...(next(2) === 0 ? [["buy", 10 + next(15), 20 + next(8), 20]] : []),
    ],
  },
};

/**
 * A history that ends with `balance` minor units at `at`.
 */
export function history({ profile, tier, balance, at, currency, offset, minorPerMajor }) {
  const { day: movements, seed } = PROFILES[profile];
  const next = numbers(seed);
  const midnight = Math.floor((at + offset * 60) / DAY) * DAY - offset * 60;
  const days = 150;
  const rows = [];
  for (let day = 0; day < days; day++) {
    for (const [kind, major, payee, hour] of movements(day, next)) {
      const debit = kind === "buy" || kind === "bill" || kind === "send";
      rows.push({
        at: midnight - (days - day) * DAY + hour * 3_600 + next(3_000),
        amount_minor: (debit ? -1 : 1) * major * minorPerMajor,
        kind: KINDS[kind],
        payee,
      });
    }
  }
  rows.sort((a, b) => a.at - b.at);
  const moved = rows.reduce((sum, row) => sum + row.amount_minor, 0);
  return {
    profile: { opened_at: midnight - 500 * DAY, tier, attested: true, offset, currency },
    opening_minor: balance - moved,
    rows,
    at,
  };
}
