//! What kind of request a route takes, by its template: one table, so that a reader sees the exceptions together.

use crate::config::Server;

/// Routes that take many tokens or transactions at once.
const BATCHES: [&str; 4] = ["/v1/score", "/v1/sync", "/v1/tokens/settle", "/v1/accounts/{id}/transactions"];
/// Routes that compute a limit for a device: the policy says how often.
const REFRESHES: [&str; 2] = ["/v1/sync", "/v1/score/refresh"];

/// The longest body of a route.
pub(super) fn body_bytes_max(server: &Server, route: &str) -> usize {
    if BATCHES.contains(&route) { server.batch_bytes_max } else { server.body_bytes_max }
}

/// Whether the policy's refresh rate holds.
pub(super) fn is_refresh(route: &str) -> bool {
    REFRESHES.contains(&route)
}
