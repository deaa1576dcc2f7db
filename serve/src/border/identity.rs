//! Who asks. Made from a verified credential and by nothing else, and the only thing handlers decide rights by.

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use plimsoll_model::grant::Thumbprint;

use super::error::ApiError;
use crate::record::AccountId;

/// Who asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Identity {
    /// A wallet's holder, through an app or a device.
    Holder {
        /// Whose account.
        account: AccountId,
        /// The device that the token is bound to (`cnf.jkt`), where it says one.
        jkt: Option<Thumbprint>,
    },
    /// A backend of the operator, by its signature over the message.
    Bridge {
        /// The key that signed.
        key_id: String,
    },
    /// One of the operator's people.
    Admin {
        /// Who, for the audit trail.
        name: String,
        /// What they may do.
        role: Role,
    },
}

/// What one of the operator's people may do; each may do what those before it may.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Look at aggregates and models.
    Viewer,
    /// Look at accounts, and enter disputes.
    Support,
    /// Change tiers, freeze, and enter signals.
    Risk,
    /// Everything.
    Admin,
}

impl Identity {
    /// A name that no other identity has: for rate limits, idempotency keys and audit trails.
    pub fn key(&self) -> String {
        match self {
            Self::Holder { account, .. } => format!("holder/{account}"),
            Self::Bridge { key_id } => format!("bridge/{key_id}"),
            Self::Admin { name, .. } => format!("admin/{name}"),
        }
    }

    /// `holder`, `bridge` or `admin`: for logs and metrics.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Holder { .. } => "holder",
            Self::Bridge { .. } => "bridge",
            Self::Admin { .. } => "admin",
        }
    }

    /// Whether it may act for `account`: its holder may, and a bridge for every account.
    ///
    /// # Errors
    /// `Forbidden`.
    pub fn acts_for(&self, account: &AccountId) -> Result<(), ApiError> {
        match self {
            Self::Holder { account: own, .. } if own == account => Ok(()),
            Self::Bridge { .. } => Ok(()),
            _ => Err(ApiError::Forbidden("this credential is for another account")),
        }
    }

    /// The bridge's key id.
    ///
    /// # Errors
    /// `Forbidden` for everybody else.
    pub fn bridge(&self) -> Result<&str, ApiError> {
        match self {
            Self::Bridge { key_id } => Ok(key_id),
            _ => {
                Err(ApiError::Forbidden("only the operator's backends may do this: sign the message with a bridge key"))
            }
        }
    }

    /// The name of one of the operator's people with at least this role.
    ///
    /// # Errors
    /// `Forbidden` for everybody else.
    pub fn admin(&self, least: Role) -> Result<&str, ApiError> {
        match self {
            Self::Admin { name, role } if *role >= least => Ok(name),
            _ => Err(ApiError::Forbidden(match least {
                Role::Viewer => "this needs the role viewer",
                Role::Support => "this needs the role support",
                Role::Risk => "this needs the role risk",
                Role::Admin => "this needs the role admin",
            })),
        }
    }
}

/// Set by the guard of the protected routes; without it there is nobody.
impl<S: Send + Sync> FromRequestParts<S> for Identity {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ApiError> {
        parts.extensions.get::<Self>().cloned().ok_or(ApiError::Unauthenticated)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_holder_acts_for_its_own_account_only_and_a_role_includes_the_ones_before() {
        let account = |name: &str| AccountId::try_from(name).expect("a name");
        let holder = Identity::Holder { account: account("a"), jkt: None };
        assert_eq!(holder.acts_for(&account("a")), Ok(()));
        assert!(holder.acts_for(&account("b")).is_err() && holder.bridge().is_err());
        assert!(holder.admin(Role::Viewer).is_err());

        let risk = Identity::Admin { name: "r".into(), role: Role::Risk };
        assert!(risk.admin(Role::Support).is_ok() && risk.admin(Role::Risk).is_ok());
        assert!(risk.admin(Role::Admin).is_err() && risk.acts_for(&account("a")).is_err());
    }
}
