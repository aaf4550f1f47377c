//! `GET /health/live` and `GET /health/ready`.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use axum::{
    Json,
    extract::{FromRef, State},
    routing::{MethodRouter, get},
};
use hookcast_store::Store;

use serde::Serialize;
use utoipa::ToSchema;

use super::{error::ApiError, problems::Stored};

/// What a node's health depends on.
#[derive(Clone)]
pub struct Health {
    /// Where things are kept.
    pub store: Arc<dyn Store>,
    /// Whether the node is on its way to its end.
    pub is_stopping: Arc<AtomicBool>,
}

/// The route that says that the process lives.
pub fn live_routes<S: Clone + Send + Sync + 'static>() -> MethodRouter<S> {
    get(live)
}

/// The route that says whether it can do its work.
pub fn ready_routes<S: Clone + Send + Sync + 'static>() -> MethodRouter<S>
where
    Health: FromRef<S>,
{
    get(ready)
}

/// Whether the process lives.
#[derive(Serialize, ToSchema)]
pub struct Live {
    status: &'static str,
}

/// Whether a node can do its work.
#[derive(Serialize, ToSchema)]
pub struct Ready {
    status: &'static str,
    store: StoreHealth,
}

/// What the store promises.
#[derive(Serialize, ToSchema)]
struct StoreHealth {
    kind: &'static str,
    accepted_events_survive: Survives,
    /// What an operator may want to know.
    remarks: Vec<String>,
}

#[derive(Serialize, ToSchema)]
struct Survives {
    restart: bool,
    failover: bool,
}

/// Says that the process lives.
#[utoipa::path(
    get,
    path = "/health/live",
    operation_id = "isLive",
    tag = "Service",
    responses(
        (status = 200, description = "It does.", body = Live, example = json!({"status": "ok"}))
    )
)]
pub async fn live() -> Json<Live> {
    Json(Live { status: "ok" })
}

/// Says whether the node can do its work.
#[utoipa::path(
    get,
    path = "/health/ready",
    operation_id = "isReady",
    tag = "Service",
    responses(
        (status = 200, description = "It can.", body = Ready, example = json!({"status": "ok", "store": {"kind": "sqlite",
            "accepted_events_survive": {"restart": true, "failover": false}, "remarks": []}})),
        Stored
    )
)]
pub async fn ready(State(state): State<Health>) -> Result<Json<Ready>, ApiError> {
    if state.is_stopping.load(Ordering::Acquire) {
        return Err(ApiError::unavailable("the server is stopping"));
    }
    let promise = state.store.check().await?;
    let accepted_events_survive = Survives { restart: promise.survives_restart, failover: promise.survives_failover };
    let store = StoreHealth { kind: promise.store.as_str(), accepted_events_survive, remarks: promise.remarks };
    Ok(Json(Ready { status: "ok", store }))
}
