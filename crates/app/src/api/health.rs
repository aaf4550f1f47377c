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
use serde_json::{Value, json};

use super::error::ApiError;

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
    get(|| async { Json(json!({"status": "ok"})) })
}

/// The route that says whether it can do its work.
pub fn ready_routes<S: Clone + Send + Sync + 'static>() -> MethodRouter<S>
where
    Health: FromRef<S>,
{
    get(ready)
}

async fn ready(State(state): State<Health>) -> Result<Json<Value>, ApiError> {
    if state.is_stopping.load(Ordering::Acquire) {
        return Err(ApiError::unavailable("the server is stopping"));
    }
    let promise = state.store.check().await?;
    Ok(Json(json!({
        "status": "ok",
        "store": {
            "kind": promise.store.as_str(),
            "accepted_events_survive": {"restart": promise.survives_restart, "failover": promise.survives_failover},
            "remarks": promise.remarks,
        },
    })))
}
