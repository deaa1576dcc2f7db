//! Bearer tokens: from a token to an [`Identity`], by the issuers that are configured.

use std::sync::Arc;

use plimsoll_model::UtcSeconds;
use plimsoll_model::grant::Thumbprint;
use serde_json::Value;

use super::identity::{Identity, Role};
use super::jose::{Claims, Token};
use super::known::{Known, Proven};
use super::refuse::RefuseCredential;
use super::source::Source;
use crate::config::{Auth, TokenIssuer};
use crate::ops::metrics::BorderMetrics;
use crate::record::AccountId;

/// Those whose tokens count.
#[derive(Debug)]
pub(super) struct Bearers {
    issuers: Vec<(TokenIssuer, Arc<Source>)>,
    skew_s: i64,
    known: Known,
}

impl Bearers {
    /// By configuration; no key is read yet.
    ///
    /// # Errors
    /// A key set's address that does not read.
    pub(super) fn new(auth: &Auth, metrics: &BorderMetrics) -> Result<Self, String> {
        let issuer = |issuer: &TokenIssuer| Ok((issuer.clone(), Source::new(&issuer.jwks, metrics.clone())?));
        let issuers = auth.issuers.values().map(issuer).collect::<Result<_, String>>()?;
        Ok(Self { issuers, skew_s: i64::from(auth.skew_s), known: Known::default() })
    }

    /// Reads every key set, so that the first request need not.
    pub(super) async fn warm(&self) {
        for (_, source) in &self.issuers {
            source.refresh().await;
        }
    }

    /// Whose token it is, and when it expires.
    ///
    /// # Errors
    /// [`RefuseCredential`].
    pub(super) async fn identify(
        &self,
        text: &str,
        now: UtcSeconds,
    ) -> Result<(Identity, UtcSeconds), RefuseCredential> {
        let name = Known::name(text);
        if let Some(proven) = self.known.get(&name) {
            let (_, source) = &self.issuers[proven.issuer];
            // A key that was taken back takes its tokens with it: then, as for any doubt, from the beginning.
            if source.key(&proven.kid).await.is_ok_and(|key| key.as_ref() == Some(&proven.key)) {
                self.in_time(proven.begins, proven.expires, now)?;
                return Ok((proven.identity.clone(), UtcSeconds(proven.expires)));
            }
        }
        let token = Token::open(text)?;
        // Issuers name their keys as they like, so a name may be there twice: the signature decides, then `iss`.
        let mut refused = RefuseCredential::UnknownKey;
        for (which, (issuer, source)) in self.issuers.iter().enumerate() {
            let key = match source.key(&token.kid).await {
                Ok(Some(key)) => key,
                Ok(None) => continue,
                Err(missing) => {
                    refused = missing;
                    continue;
                }
            };
            if !issuer.algorithms.contains(&token.algorithm) {
                refused = RefuseCredential::Algorithm;
                continue;
            }
            // One provider may issue for holders and for the operator's people: the audience tells them apart.
            let checked = token.verify(&key).and_then(|claims| self.check(issuer, &token, &claims, now));
            match checked {
                Err(other @ (RefuseCredential::Issuer | RefuseCredential::Audience)) => refused = other,
                // Another issuer may have a key of that name; but what this one refused is the better reason.
                Err(other @ (RefuseCredential::Signature | RefuseCredential::Algorithm)) => {
                    if refused == RefuseCredential::UnknownKey {
                        refused = other;
                    }
                }
                Err(other) => return Err(other),
                Ok(Checked { identity, begins, expires }) => {
                    let (kid, told) = (token.kid.clone(), identity.clone());
                    self.known.put(name, Proven { issuer: which, kid, key, identity, begins, expires });
                    return Ok((told, UtcSeconds(expires)));
                }
            }
        }
        Err(refused)
    }

    fn check(
        &self,
        issuer: &TokenIssuer,
        token: &Token<'_>,
        claims: &Claims,
        now: UtcSeconds,
    ) -> Result<Checked, RefuseCredential> {
        if !issuer.typ.contains(&token.typ) {
            return Err(RefuseCredential::Type);
        }
        if claims.text("iss") != Some(&issuer.iss) {
            return Err(RefuseCredential::Issuer);
        }
        if !claims.is_for(&issuer.aud) {
            return Err(RefuseCredential::Audience);
        }
        let expires = claims.seconds("exp")?.ok_or(RefuseCredential::Claim("exp"))?;
        let from = |name| Ok(claims.seconds(name)?.unwrap_or(i64::MIN));
        let begins = from("nbf")?.max(from("iat")?);
        self.in_time(begins, expires, now)?;
        if issuer.admins {
            let name = claims.text("sub").filter(|name| is_name(name)).ok_or(RefuseCredential::Claim("sub"))?;
            let role = claims.get("role").cloned().and_then(|role| serde_json::from_value::<Role>(role).ok());
            let role = role.ok_or(RefuseCredential::Claim("role"))?;
            return Ok(Checked { identity: Identity::Admin { name: name.to_owned(), role }, begins, expires });
        }
        let account = claims.text(&issuer.account_claim).and_then(|name| AccountId::try_from(name).ok());
        let account = account.ok_or(RefuseCredential::Claim("account"))?;
        let jkt = match claims.get("cnf") {
            None => None,
            Some(Value::Object(cnf)) => match cnf.get("jkt") {
                None => None,
                Some(jkt) => {
                    let jkt = jkt.as_str().and_then(|jkt| Thumbprint::try_from(jkt.to_owned()).ok());
                    Some(jkt.ok_or(RefuseCredential::Claim("cnf.jkt"))?)
                }
            },
            Some(_) => return Err(RefuseCredential::Claim("cnf")),
        };
        Ok(Checked { identity: Identity::Holder { account, jkt }, begins, expires })
    }

    fn in_time(&self, begins: i64, expires: i64, now: UtcSeconds) -> Result<(), RefuseCredential> {
        if now.0 >= expires.saturating_add(self.skew_s) {
            return Err(RefuseCredential::Expired);
        }
        if now.0 < begins.saturating_sub(self.skew_s) {
            return Err(RefuseCredential::NotYet);
        }
        Ok(())
    }
}

/// What a token's claims come to.
struct Checked {
    identity: Identity,
    begins: i64,
    expires: i64,
}

/// A name that can stand in a log and an audit trail.
fn is_name(name: &str) -> bool {
    (1..=128).contains(&name.len()) && name.bytes().all(|b| b.is_ascii_graphic())
}
