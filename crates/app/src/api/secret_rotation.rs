//! `POST /webhooks/subscriptions/{id}/rotate-secret`: a subscription goes over to another secret.

use axum::{
    Json,
    extract::{Request, State},
    response::{IntoResponse, Response},
    routing::{MethodRouter, post},
};
use hookcast_core::signing::Secret;

use super::{
    ApiState, auth, body,
    error::ApiError,
    fields::Fields,
    problems::{Body, Conflicting, Missing, Protected},
    pull, query,
    requests::NewSecret,
    subscription_view::{self, View},
    subscriptions::not_found,
    wishes,
};

/// The route that rotates a secret.
pub fn routes() -> MethodRouter<ApiState> {
    post(rotate_secret)
}

/// Goes over to another secret: a new one of the same kind, or the one in the body.
///
/// The one before it signs as well for a while.
#[utoipa::path(
    post,
    path = "/webhooks/subscriptions/{id}/rotate-secret",
    operation_id = "rotateSecret",
    tag = "Subscriptions",
    params(("id" = String, Path, description = "The subscription's id.", pattern = "^sub_[0-9a-f]{32}$")),
    request_body(content = Option<NewSecret>, example = json!({"overlap": "1h"})),
    security(("access" = [])),
    responses(
        (status = 200, description = "The subscription with its new secret, which is shown this once.", body = View, example = json!(subscription_view::example(true))),
        Body, Conflicting, Missing, Protected
    )
)]
pub async fn rotate_secret(
    State(state): State<ApiState>,
    id: query::Segment,
    request: Request,
) -> Result<Response, ApiError> {
    let account = auth::writer(&state, request.headers()).await?;
    let id = query::id(id)?;
    let body = body::read_optional_json(&state, request, body::SMALL).await?;
    let (given, overlap) = match &body {
        None => (None, wishes::OVERLAP),
        Some(body) => {
            let mut fields = Fields::parse(&body.bytes)?;
            let given = (wishes::secret(&mut fields)?, wishes::overlap(&mut fields)?);
            fields.finish("`secret` and `overlap`")?;
            given
        }
    };
    let now = state.clock.now();
    let status = state.store.subscription(account.id, id).await.map_err(not_found)?;
    pull::needs_callback(&status.subscription)?;
    let scheme = state.open(&status.subscription)?.keys.scheme();
    let Some(secret) = given.or_else(|| Secret::generate(scheme, rand::random())) else {
        return Err(ApiError::conflict("nothing is signed here: choose a `signature` first, with PATCH"));
    };
    let status = state
        .change_subscription(account.id, id, |_, secrets| {
            secrets.keys.rotate(Some(secret.clone()), overlap, now);
            Ok(())
        })
        .await?;
    // What is sent from now on is signed with the new one.
    state.refresh_catalogue().await;
    let mut view = state.view(status)?;
    view.secret = Some(secret.reveal());
    Ok(Json(view).into_response())
}
