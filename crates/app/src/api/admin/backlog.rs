//! What waits, and for whom.

use std::collections::BTreeMap;

use axum::{
    Json,
    extract::State,
    response::{IntoResponse, Response},
    routing::{MethodRouter, get},
};
use http::HeaderMap;
use serde::Serialize;
use utoipa::ToSchema;

use super::{ApiError, ApiState, Counts, auth, each};
use crate::api::problems::Protected;

/// The most accounts that are named.
const MOST: usize = 100;

/// The route that tells of it.
pub fn routes() -> MethodRouter<ApiState> {
    get(backlog)
}

/// What waits, and for whom.
#[derive(Serialize, ToSchema)]
struct Backlog {
    accounts: u64,
    #[serde(flatten)]
    counts: Counts,
    /// Those accounts for which most waits, that first; a hundred at the most, and none for which nothing does.
    longest: Vec<OfAccount>,
}

/// What waits for an account.
#[derive(Serialize, ToSchema)]
#[schema(as = BacklogOfAccount)]
struct OfAccount {
    user_id: String,
    #[serde(flatten)]
    counts: Counts,
}

/// Tells what waits, in all and by account. It looks at every subscription.
#[utoipa::path(
    get,
    path = "/webhooks/admin/backlog",
    operation_id = "adminBacklog",
    tag = "Operators",
    security(("admin" = [])),
    responses(
        (status = 200, description = "What waits.", body = Backlog, example = json!({"accounts": 2, "subscriptions": 3, "active": 2,
            "failing": 1, "waiting": 40, "expired": 0, "longest": [{"user_id": "ada", "subscriptions": 2, "active": 1,
            "failing": 1, "waiting": 40, "expired": 0}]})),
        Protected
    )
)]
pub async fn backlog(State(state): State<ApiState>, headers: HeaderMap) -> Result<Response, ApiError> {
    auth::operator(&state, &headers).await?;
    let mut of: BTreeMap<String, Counts> = BTreeMap::new();
    let mut counts = Counts::default();
    each(&state, None, |status| {
        counts.add(status);
        of.entry(status.subscription.user_id.clone()).or_default().add(status);
    })
    .await?;
    let accounts = of.len() as u64;
    let mut longest: Vec<OfAccount> = of
        .into_iter()
        .filter(|(_, counts)| counts.waiting > 0)
        .map(|(user_id, counts)| OfAccount { user_id, counts })
        .collect();
    longest.sort_by_key(|of| std::cmp::Reverse(of.counts.waiting));
    longest.truncate(MOST);
    Ok(Json(Backlog { accounts, counts, longest }).into_response())
}
