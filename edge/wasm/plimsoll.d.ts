// Types of plimsoll.js. Amounts are integer minor units of the manifest's currency, times UTC seconds, ages minutes, shares
// parts per million.

/** Why nothing was answered: `code` is stable (`wrong_hash`, `expired`, `request` …), `message` is for people. */
export class Refused extends Error {
  readonly code: string;
}

/** One instance of the engine. It reads no clock and opens no socket. */
export class Plimsoll {
  /** From the bytes of plimsoll.wasm, a compiled module, or a (promised) Response. */
  static load(source: Source | Promise<Source>): Promise<Plimsoll>;
  /** Verifies a repository, checks its model against this engine and runs the golden vectors. Throws `Refused`. */
  open(release: OpenRelease): Evaluator;
  /** Opens a whole device: models and wallet over one storage. Throws `Refused`. */
  device(setup: Setup): Device;
  /** Bytes of memory taken from the host: it grows with use and does not shrink. */
  readonly memoryBytes: number;
}

export type Source = BufferSource | WebAssembly.Module | Response;

export interface OpenRelease {
  /** Path in the repository (`metadata/timestamp.json` …) to bytes. */
  files: Iterable<readonly [path: string, bytes: Uint8Array]>;
  /** The root this app was built to trust, the bytes of its file. */
  root: Uint8Array;
  /** The wall clock. */
  now: number;
  /** What this device has seen: `opened.floors` of the last time. */
  floors?: Floors;
  /** Which model line; may be left out where the repository has only one. */
  modelId?: string;
}

/** A model whose signatures were verified and whose golden vectors passed. */
export interface Evaluator {
  readonly opened: Opened;
  /** What an account may spend offline. Throws `Refused` for a history that is out of order or out of range. */
  evaluate(question: Question): Answer;
  /** Gives its memory back; later calls throw. */
  free(): void;
}

export interface Opened {
  release: { manifest: Manifest; certificate: Certificate };
  policy: Policy;
  /** Of the ONNX file, lower-case hex. */
  model_sha256: string;
  /** From then on the same repository is refused, until fresher metadata is fetched. */
  install_until: number;
  floors: Floors;
}

/** Opaque: keep it, and pass it in the next time. */
export type Floors = { readonly [member: string]: unknown };

export interface Manifest {
  schema: number;
  model_id: string;
  model_version: number;
  rollback_index: number;
  programme: string;
  /** ISO code and decimals, `MYR/2`. */
  currency: string;
  feature_schema: string;
  features: string[];
  levels: number[];
  ages: number[];
  window_h: number;
  opset: number;
  engine_min: number;
  engine_max: number;
  policy_sha256: string;
  golden_sha256: string;
  hard_cap_by_tier: { tier: Tier; cap: number }[];
  issued_at: number;
  use_not_after: number;
  grace_days: number;
  monotone: { feature: string; increasing: boolean; pairs: number }[];
}

/** `P(S < L) ≤ alpha` at every certified age, with confidence `1 − delta`, per tier. */
export interface Certificate {
  schema: number;
  alpha: number;
  delta: number;
  delta_plain: number;
  target: "strict" | "committed";
  window_h: number;
  ages: number[];
  calibration_sha256: string;
  calibration_from: number;
  calibration_to: number;
  data_sha256: string;
  cells: Cell[];
}

export interface Cell {
  tier: Tier;
  rule: { kind: "balance" } | { kind: "gap"; level: number; scale: number } | { kind: "fallback"; amount: number };
  basis: "certified" | "borrowed" | "fallback";
  accounts: number;
  windows: number;
  stake_milli: number;
  violation_ppm: number;
  e_value_milli: number;
  test: { accounts: number; windows: number; violation_ppm: number; low_ppm: number; high_ppm: number } | null;
}

/** The programme's rules; those a wallet shows. */
export interface Policy {
  programme: string;
  version: number;
  currency: string;
  utc_offset_min: number;
  tiers: TierRules[];
  [member: string]: unknown;
}

export interface TierRules {
  tier: Tier;
  class: string;
  pay: boolean;
  receive: boolean;
  per_payment: number | null;
  rolling_24h: number | null;
  day: number | null;
  week: number | null;
  outstanding: number | null;
  fallback: number;
}

export type Tier = 0 | 1 | 2 | 3;

export type Kind =
  | "purchase" | "transfer_out" | "cash_out" | "bill" | "loan" | "fee"
  | "reload" | "transfer_in" | "income" | "cash_in" | "interest" | "refund";

export type Settlement = "clean" | "overdraft" | "double_spend" | "expired" | "forged";

export interface Question {
  history: History;
  /** When left out: in good standing, nothing spent, synced at `history.at` with the balance the history ends with. */
  situation?: Situation;
  /** When the decision is made; `history.at` when left out. */
  now?: number;
}

export interface History {
  profile: {
    opened_at: number;
    tier: Tier;
    attested: boolean;
    /** Minutes from UTC. */
    offset: number;
    currency: string;
  };
  /** Balance before the first row, signed. */
  opening_minor: number;
  /** Oldest first. */
  rows: Row[];
  /** When the features are taken: the sync. */
  at: number;
}

export interface Row {
  at: number;
  /** Signed: a debit is negative. */
  amount_minor: number;
  kind: Kind;
  /** The other side, as a hash below 2⁵³; 0 when unknown. */
  payee?: number;
  /** How it ended, if it was an offline payment. */
  offline?: Settlement | null;
  /** Latitude and longitude in millionths of a degree. */
  place?: [number, number] | null;
}

/** What the server's record and the device's counters say. */
export interface Situation {
  balance: number;
  tier: Tier;
  synced_at: number;
  pending: number;
  spent_24h: number;
  spent_day: number;
  spent_week: number;
  lifetime_tx: number;
  manual_wallet: number;
  new_device: boolean;
  fraud_ppm: number;
}

export interface Answer {
  balance_minor: number;
  /** IEEE 754 binary32 bits; every NaN as 0x7fc00000. */
  feature_bits: number[];
  decision: Decision;
  /** What the decision's bound means, for the holder. */
  says: string;
  /** The decision at every certified age, rising. */
  curve: { age: number; steps: number[]; certified: number; decision: Decision }[];
}

export interface Decision {
  /** In total, from this sync. */
  limit: number;
  per_payment: number;
  bound: Bound;
  reasons: { bound: Bound; left: number }[];
  age: number;
  valid_until: number;
}

export type Bound = ModelBound | WalletBound;

/** Why a model's decision is no higher. */
export type ModelBound =
  | "balance" | "model" | "fallback" | "manual_wallet" | "signed_ceiling" | "tier_cap" | "tier_may_not_pay" | "new_device"
  | "standing" | "pending" | "rolling_24h" | "day" | "week" | "age" | "model_expired";

/** Why a wallet does not pay more, besides. */
export type WalletBound =
  | "own_model" | "grant_missing" | "grant_expired" | "locked" | "attestation" | "per_payment" | "count" | "step_up"
  | "lottery" | "clock" | "state" | "sequence" | "margin";

/** What a device is opened with. */
export interface Setup {
  /** Files that were kept, base64url by name; `{}` the first time. Keep what the command `files` gives before a payment is
   * shown to anyone: a payment that the next start does not know of could be spent a second time. */
  storage: { files: { [name: string]: string } };
  /** The pinned root: the text of its file. */
  root: string;
  model_id: string;
  /** The object of the policy file, for a device without a model. */
  policy: Policy | object;
  account: string;
  programme: string;
  currency: string;
  issuer: string;
  /** The issuer's JSON Web Key Set. */
  jwks: object;
  /** 32 bytes, base64url: the seed of the device's Ed25519 key. */
  device_seed: string;
  /** 16 bytes, base64url, drawn at random for this call. */
  entropy: string;
  /** The wall clock. */
  now: number;
}

/** A payer's device. */
export interface Device {
  install(release: { files: OpenRelease["files"]; now: number }): { model_version: number; new: boolean };
  command<C extends keyof Commands>(command: C, ...told: {} extends Commands[C] ? [] : [told: Commands[C]]): Told[C];
  /** Gives its memory back; later calls throw. */
  free(): void;
}

export type Token = { jws: string } | { cwt: string };

export interface PaymentRequest {
  payee: string;
  amt: number;
  cur: string;
  /** 16 bytes, base64url, drawn by the payee. */
  nonce: string;
  iat: number;
  exp: number;
}

/** What a device can be told, and with what. */
export interface Commands {
  accept: { grant: Token; now: number };
  limit: { now: number };
  curve: Record<string, never>;
  authorise: { request: PaymentRequest; proved?: boolean; form?: "jws" | "cwt"; now: number };
  status: { now: number };
  grant: Record<string, never>;
  outbox: Record<string, never>;
  pull_back: { now: number };
  files: Record<string, never>;
}

/** What each command answers. */
export interface Told {
  accept: { new: boolean };
  limit: Remaining;
  /** Age in minutes, and what will remain then. */
  curve: [age: number, remaining: number][];
  authorise: Decided;
  status: { models: object; wallet: WalletStatus; allowance: object };
  grant: Token | null;
  outbox: { number: number; payee: string; amount: number; at: number; token: Token }[];
  pull_back: Record<string, never>;
  files: { [name: string]: string } | null;
}

export interface WalletStatus {
  /** Names the life of the wallet's state: the next grant must be made for it. */
  wid: string;
  seq: number;
  number: number;
  seen: number;
  spent: number;
  count: number;
  [member: string]: unknown;
}

export type Advice =
  | "none" | "sync_soon" | "sync_now" | "wait" | "pay_less" | "set_clock" | "prove_presence" | "ask_issuer";

export interface Remaining {
  remaining: number;
  per_payment: number;
  /** Up to this amount no proof of presence is needed. */
  without_proof: number;
  bound: Bound;
  reasons: { bound: Bound; left: number }[];
  advice: Advice;
  at: number;
  /** What the bound means. */
  says: string;
  /** What the holder can do; empty when nothing needs doing. */
  advises: string;
}

export type Decided =
  | { decision: "approve"; token: Token; number: number; repeated: boolean; left: Remaining }
  | { decision: "step_up"; left: Remaining }
  | { decision: "decline"; bound: Bound; says: string; advice: Advice; advises: string; left: Remaining };
