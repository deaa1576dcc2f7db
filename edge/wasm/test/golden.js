// Golden vectors as questions: the same file for Node and for the page.

/** The question that a published golden vector answers. */
export function questionOf({ profile, opening_minor, rows, at }) {
  return {
    history: {
      profile: { ...profile },
      opening_minor,
      rows: rows.map(([at, amount_minor, kind, payee, offline, place]) => ({ at, amount_minor, kind, payee, offline, place })),
      at,
    },
  };
}

/** What must be equal: features' bits, the forest's steps and the certified limit at every age. */
export function goldenAnswers({ feature_bits, outputs, curve }) {
  return { feature_bits, outputs: outputs ?? curve.map(({ age, steps, certified }) => [age, steps, certified]) };
}
