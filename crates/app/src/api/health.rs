//! `GET /health/live` and `GET /health/ready`.

use std::sync::atomic::Ordering;

use axum::{
    Json,
    extract::State,
    routing::{MethodRouter, get},
};
use serde_json::{Value, json};

use super::{ApiState, error::ApiError};

/// The route that says that the process lives.
pub fn live_routes() -> MethodRouter<ApiState> {
    get(|| async { Json(json!({"status": "ok"})) })
}

/// The route that says whether it can do its work.
pub fn ready_routes() -> MethodRouter<ApiState> {
    get(ready)
}

async fn ready(State(state): State<ApiState>) -> Result<Json<Value>, ApiError> {
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
