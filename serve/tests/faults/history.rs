//! What was answered: promises that the store has to keep, whatever happened afterwards.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

/// What a settlement answered about one nonce, as far as it never changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Paid {
    pub(crate) credited: u64,
    pub(crate) overdraft: u64,
    pub(crate) unpaid: u64,
}

/// A signed payment that somebody may hand in.
#[derive(Clone, Debug)]
pub(crate) struct Token {
    pub(crate) payer: String,
    pub(crate) payee: String,
    pub(crate) nonce: String,
    pub(crate) bytes: String,
}

/// Everything that clients were told, and where two answers contradict each other.
#[derive(Debug, Default)]
pub(crate) struct History {
    /// Balances at the opening.
    pub(crate) opened: BTreeMap<String, i64>,
    /// Every movement that was ever told, by account and name: its amount.
    pub(crate) told: BTreeMap<(String, String), i64>,
    /// Those of which it was answered that they were taken.
    pub(crate) taken: BTreeSet<(String, String)>,
    /// Grants by name: their claims.
    pub(crate) grants: BTreeMap<String, Value>,
    /// Settlements by nonce.
    pub(crate) paid: BTreeMap<String, Paid>,
    /// Nonces whose dispute was answered.
    pub(crate) disputed: BTreeSet<String>,
    /// Payments that exist.
    pub(crate) tokens: Vec<Token>,
    /// By jkt and seq: the grant's name.
    seqs: BTreeMap<(String, u64), String>,
    /// By nonce: which request was answered that it settled it, and not that it had been settled before.
    first: BTreeMap<String, String>,
    /// By idempotency key: the answer.
    replies: BTreeMap<String, Value>,
    /// Contradictions.
    pub(crate) broken: Vec<String>,
}

impl History {
    /// A grant was answered.
    pub(crate) fn granted(&mut self, claims: &Value) {
        let text = |name: &str| claims[name].as_str().unwrap_or_default().to_owned();
        let (jti, jkt) = (text("jti"), claims["cnf"]["jkt"].as_str().unwrap_or_default().to_owned());
        let seq = claims["seq"].as_u64().unwrap_or_default();
        if let Some(before) = self.seqs.insert((jkt, seq), jti.clone())
            && before != jti
        {
            self.broken.push(format!("two grants of seq {seq}: {before} and {jti}"));
        }
        if let Some(before) = self.grants.insert(jti.clone(), claims.clone())
            && before != *claims
        {
            self.broken.push(format!("grant {jti} was answered in two ways"));
        }
    }

    /// A verdict was answered.
    ///
    /// * `request`: names the request, the same for a repeated one under its idempotency key.
    pub(crate) fn judged(&mut self, verdict: &Value, request: &str) {
        let Some(nonce) = verdict["nonce"].as_str() else { return };
        if !matches!(verdict["status"].as_str(), Some("settled" | "partial")) {
            return;
        }
        let minor = |name: &str| verdict[name].as_u64().unwrap_or(u64::MAX);
        let paid = Paid { credited: minor("credited"), overdraft: minor("overdraft"), unpaid: minor("unpaid") };
        if let Some(before) = self.paid.insert(nonce.to_owned(), paid)
            && before != paid
        {
            self.broken.push(format!("nonce {nonce} was answered with {before:?} and with {paid:?}"));
        }
        if verdict["again"].as_bool() == Some(false)
            && let Some(before) = self.first.insert(nonce.to_owned(), request.to_owned())
            && before != request
        {
            self.broken.push(format!("nonce {nonce} was settled twice: by {before} and by {request}"));
        }
    }

    /// The same key gets the same answer.
    pub(crate) fn replied(&mut self, key: Option<&String>, what: Value) {
        let Some(key) = key else { return };
        if let Some(before) = self.replies.insert(key.clone(), what.clone())
            && before != what
        {
            self.broken.push(format!("key {key} was answered in two ways: {before} and {what}"));
        }
    }
}
