//! `GET /v1/explain/{decision}`: what a grant was decided from.

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::Response;
use plimsoll_model::grant::{Grant, TokenId};
use serde::Serialize;
use utoipa::ToSchema;

use super::Service;
use super::commit::json;
use crate::border::{ApiError, Identity, Role};
use crate::unit::Needs;

/// Why a grant is what it is.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Explanation {
    /// Its claims.
    #[schema(value_type = Object)]
    claims: Grant,
    /// The rule that had the last word, in words.
    says: String,
    /// The features it was decided from, by name; none is missing.
    features: Vec<Feature>,
    /// Settled under it, minor units.
    #[schema(value_type = u64)]
    settled: plimsoll_model::Money,
}

/// One feature.
#[derive(Debug, Serialize, ToSchema)]
struct Feature {
    /// Its name.
    name: &'static str,
    /// Its value; none when it was missing.
    value: Option<f32>,
    /// Its unit.
    unit: &'static str,
}

/// What a grant was decided from: its holder's own, or for support.
#[utoipa::path(get, path = "/v1/explain/{decision}", tag = "wallet",
    params(("decision" = String, Path, description = "The grant's `jti`")), responses(
    (status = 200, description = "Why", body = Explanation), (status = 404, description = "No such grant")))]
pub(super) async fn explain(
    State(service): State<Service>,
    who: Identity,
    Path(decision): Path<String>,
) -> Result<Response, ApiError> {
    let jti = TokenId::try_from(decision).map_err(|_| ApiError::BadRequest("decision: not a grant's jti".into()))?;
    let unit = service.store.look(Needs { grants: [jti].into(), ..Needs::default() }).await?;
    let record = unit.grants.get(&jti).ok_or(ApiError::NotFound("grant"))?;
    if who.admin(Role::Support).is_err() && who.acts_for(&record.account).is_err() {
        // Whether it is there is nobody else's business.
        return Err(ApiError::NotFound("grant"));
    }
    let claims = record.grant().map_err(ApiError::internal)?;
    let vector = claims.features();
    let feature = |(ix, spec): (usize, &plimsoll_model::features::FeatureSpec)| Feature {
        name: spec.name,
        value: vector.as_ref().map(|v| v.0[ix]).filter(|x| !x.is_nan()),
        unit: spec.unit,
    };
    let features = plimsoll_model::features::FEATURES.iter().enumerate().map(feature).collect();
    let says = claims.why.says().to_owned();
    Ok(json(StatusCode::OK, &Explanation { claims, says, features, settled: record.settled }))
}
