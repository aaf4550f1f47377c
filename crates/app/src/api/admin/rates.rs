//! How much the node that is asked does.

use axum::{
    Json,
    extract::State,
    response::{IntoResponse, Response},
    routing::{MethodRouter, get},
};
use hookcast_delivery::rates;
use http::HeaderMap;
use serde::Serialize;
use utoipa::ToSchema;

use super::{ApiError, ApiState, auth};
use crate::api::problems::Protected;

/// The route that tells of it.
pub fn routes() -> MethodRouter<ApiState> {
    get(show)
}

/// How much is done, and by how many nodes.
#[derive(Serialize, ToSchema)]
struct Rates {
    /// What the node does that answers.
    this_node: OfNode,
    /// How many nodes deliver, by their leases, this one included if it does; a pass of `hookcast resend` counts as one. What they do
    /// is not in the rates.
    nodes_that_deliver: u32,
}

/// How much a node does, on the average of the last minute.
#[derive(Serialize, ToSchema)]
#[schema(as = RatesOfNode)]
struct OfNode {
    /// The seconds up to now that the rates are of: a minute and a few seconds more, or since the node was started, if that was later.
    window_seconds: f64,
    /// Events of producers that were stored. Duplicates, notices and replays are not counted.
    events_accepted_per_second: f64,
    /// Deliveries that their callbacks took, replays and notices included. `null` of a node that does not deliver (of the role `api`).
    #[schema(required)]
    deliveries_succeeded_per_second: Option<f64>,
    /// Attempts that failed, whether or not the delivery is tried again. `null` of a node that does not deliver.
    #[schema(required)]
    attempts_failed_per_second: Option<f64>,
}

impl OfNode {
    fn new(rates: rates::Rates, delivers: bool) -> Self {
        Self {
            window_seconds: rounded(rates.window.as_secs_f64()),
            events_accepted_per_second: rounded(rates.accepted),
            deliveries_succeeded_per_second: delivers.then(|| rounded(rates.delivered)),
            attempts_failed_per_second: delivers.then(|| rounded(rates.failed)),
        }
    }
}

/// A thousandth is less than one in a minute, so that nothing becomes 0 that is not.
fn rounded(number: f64) -> f64 {
    (number * 1_000.0).round() / 1_000.0
}

/// Tells how much the node does that answers: events and attempts per second, over the last minute.
///
/// Each node counts for itself, in memory, since it was started: nothing is added up over several nodes, so ask each of them at its own
/// address, and not through a load balancer. A node that only delivers (of the role `delivery`) answers no such requests.
#[utoipa::path(
    get,
    path = "/webhooks/admin/rates",
    operation_id = "adminRates",
    tag = "Operators",
    security(("admin" = [])),
    responses(
        (status = 200, description = "How much this node does.", body = Rates, example = json!({"this_node": {"window_seconds": 62.418,
            "events_accepted_per_second": 41.303, "deliveries_succeeded_per_second": 40.598, "attempts_failed_per_second": 0.705},
            "nodes_that_deliver": 1})),
        Protected
    )
)]
pub async fn show(State(state): State<ApiState>, headers: HeaderMap) -> Result<Response, ApiError> {
    auth::operator(&state, &headers).await?;
    let this_node = OfNode::new(state.dispatcher.meter().rates(), state.delivers);
    let nodes_that_deliver = state.dispatcher.parts().lease.senders();
    Ok(Json(Rates { this_node, nodes_that_deliver }).into_response())
}
