//! The description of the HTTP interface in OpenAPI 3.1, which is made from the handlers, and the page that shows it.

mod page;
#[cfg(test)]
mod tests;

use std::sync::LazyLock;

use axum::{
    response::{IntoResponse, Response},
    routing::{MethodRouter, get},
};
use base64::{Engine as _, prelude::BASE64_STANDARD};
use http::header;
use sha2::{Digest as _, Sha256};
use utoipa::{
    Modify, OpenApi,
    openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme},
};

use super::{
    accounts, admin, deliveries, error::Problem, event_types, events, health, problems, pull, redelivery, replays,
    secret_rotation, subscriptions, test_delivery, tokens, trigger, trigger_tokens, webhook_keys,
};

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Hookcast",
        description = "A webhook service: producers trigger events, and consumers subscribe to them. Every path answers with and \
                       without a trailing slash. A member of a body that is not known is refused, and so is one that is given \
                       twice. Refusals are problem details (RFC 9457), whose `type` ends with a stable code."
    ),
    paths(
        accounts::register,
        accounts::show,
        accounts::change,
        accounts::remove,
        accounts::rotate,
        tokens::list,
        tokens::create,
        tokens::remove,
        subscriptions::subscribe,
        subscriptions::list,
        subscriptions::show,
        subscriptions::change,
        subscriptions::remove,
        secret_rotation::rotate_secret,
        subscriptions::verify,
        test_delivery::try_out,
        deliveries::list,
        deliveries::show,
        pull::fetch,
        redelivery::one,
        redelivery::since,
        replays::list,
        replays::create,
        replays::show,
        replays::change,
        admin::accounts::list,
        admin::accounts::create,
        admin::accounts::show,
        admin::accounts::remove,
        admin::accounts::put_quota,
        admin::accounts::remove_quota,
        admin::accounts::rotate,
        admin::subscriptions::list,
        admin::subscriptions::change,
        admin::pauses::list,
        admin::pauses::put,
        admin::pauses::remove,
        admin::backlog::backlog,
        admin::rates::show,
        admin::audit::list,
        webhook_keys::keys,
        trigger::trigger,
        trigger_tokens::list,
        trigger_tokens::create,
        trigger_tokens::remove,
        event_types::list,
        event_types::show,
        event_types::put,
        event_types::remove,
        events::list,
        events::show,
        events::cancel,
        health::live,
        health::ready,
        describe,
        browse,
    ),
    components(schemas(Problem<'_>)),
    tags(
        (name = "Accounts", description = "Who consumes events."),
        (name = "Subscriptions", description = "What an account gets, and where."),
        (name = "Replays", description = "Past events once more, as jobs."),
        (name = "Events", description = "What producers send, and what has become of it."),
        (name = "Operators", description = "What those see and do who run the service."),
        (name = "Service", description = "What the service says of itself."),
    ),
    modifiers(&Shared)
)]
struct Description;

/// What operations refer to: who may ask, and refusals.
struct Shared;

impl Modify for Shared {
    fn modify(&self, openapi: &mut utoipa::openapi::OpenApi) {
        let components = openapi.components.get_or_insert_default();
        for (name, meaning) in [
            (
                "registration",
                "The registration token. None is wanted where the server's `registration.mode` is `open`; where it is `jwt`, a JWT of its provider is taken, too.",
            ),
            ("access", "An account's access token, which is shown when it is registered."),
            ("trigger", "The trigger token, which producers have, or for some types one of a name."),
            ("admin", "The admin token, which operators have."),
        ] {
            let scheme = HttpBuilder::new().scheme(HttpAuthScheme::Bearer).description(Some(meaning)).build();
            components.add_security_scheme(name, SecurityScheme::Http(scheme));
        }
        components.responses.extend(problems::components());
    }
}

static TEXT: LazyLock<String> = LazyLock::new(|| text(&Description::openapi()));

static PAGE: LazyLock<String> =
    LazyLock::new(|| page::of(&serde_json::to_value(Description::openapi()).unwrap_or_default()).into_string());

/// Nothing but the page's own style, whatever should get into it.
static POLICY: LazyLock<String> = LazyLock::new(|| {
    let style = BASE64_STANDARD.encode(Sha256::digest(page::STYLE));
    format!(
        "default-src 'none'; style-src 'sha256-{style}'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
});

fn text(description: &utoipa::openapi::OpenApi) -> String {
    let value = serde_json::to_value(description).unwrap_or_default();
    format!("{value:#}\n")
}

/// The route of the description.
pub fn routes<S: Clone + Send + Sync + 'static>() -> MethodRouter<S> {
    get(describe)
}

/// The route of the page.
pub fn page_routes<S: Clone + Send + Sync + 'static>() -> MethodRouter<S> {
    get(browse)
}

/// This description.
#[utoipa::path(
    get,
    path = "/openapi.json",
    operation_id = "describe",
    tag = "Service",
    responses((status = 200, description = "An OpenAPI 3.1 document.", body = Object, example = json!({"openapi": "3.1.0"})))
)]
async fn describe() -> Response {
    ([(header::CONTENT_TYPE, "application/json")], TEXT.as_str()).into_response()
}

/// This description as a page to read.
#[utoipa::path(
    get,
    path = "/docs",
    operation_id = "browse",
    tag = "Service",
    responses((status = 200, description = "A page.", body = String, content_type = "text/html", example = "<!DOCTYPE html>…"))
)]
async fn browse() -> Response {
    let headers = [
        (header::CONTENT_TYPE, "text/html; charset=utf-8"),
        (header::CONTENT_SECURITY_POLICY, POLICY.as_str()),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
    ];
    (headers, PAGE.as_str()).into_response()
}
