//! `POST /webhooks/subscribe` and an account's own subscriptions.

use axum::{
    Json,
    extract::{Request, State},
    response::{IntoResponse, Response},
    routing::{MethodRouter, get, post},
};
use hookcast_core::{
    account::Account,
    guard::CallbackUrl,
    id::{AccountId, SubscriptionId},
    options::{Consent, Options},
    pattern::EventPatterns,
    secrets::Secrets,
    signing::{Keyring, Secret},
    subscription::{Health, Subscription},
};
use hookcast_delivery::client;
use hookcast_store::{
    StoreError,
    catalogue::{Replaced, SubscriptionStatus},
};
use http::{HeaderMap, StatusCode, Uri};

use super::{
    ApiState, auth, body,
    consent::{self, Answered},
    error::ApiError,
    fields::Fields,
    problems::{Body, Conflicting, Missing, Parameters, Protected},
    pull,
    query::{self, List, PageParameters},
    quotas,
    requests::{NewSubscription, SubscriptionChange},
    subscription_view::{self, View},
    wishes::{self, KNOWN, Wishes},
};

/// How often a change is tried again while others change the same subscription.
const TRIES: usize = 10;

/// The route that makes subscriptions.
pub fn subscribe_routes() -> MethodRouter<ApiState> {
    post(subscribe)
}

/// The route that lists them.
pub fn list_routes() -> MethodRouter<ApiState> {
    get(list)
}

/// The routes of one of them.
pub fn routes() -> MethodRouter<ApiState> {
    get(show).patch(change).delete(remove)
}

/// The route that asks the callback again whether it wants the events.
pub fn verify_routes() -> MethodRouter<ApiState> {
    post(verify)
}

pub(super) fn not_found(error: StoreError) -> ApiError {
    match error {
        StoreError::NotFound => ApiError::not_found("you have no such subscription"),
        error => error.into(),
    }
}

impl ApiState {
    /// Judges a URL that Hookcast shall call, and parses it.
    pub(super) fn parse_url(&self, url: &str) -> Result<CallbackUrl, String> {
        CallbackUrl::parse(url, &self.rules).map_err(|refused| refused.to_string())
    }

    /// Says at once when a name leads where callbacks may not go.
    pub(super) async fn check_resolves(&self, field: &str, url: &CallbackUrl) -> Result<(), ApiError> {
        client::check_resolves(url, &self.rules.networks)
            .await
            .map_err(|special| ApiError::invalid_field(field, &format!("leads where callbacks may not go: {special}")))
    }

    async fn callback(&self, text: &str) -> Result<CallbackUrl, ApiError> {
        let url = self.parse_url(text).map_err(|refused| ApiError::invalid_value("url", &refused))?;
        self.check_resolves("url", &url).await?;
        Ok(url)
    }

    fn seal(&self, subscription: &mut Subscription, secrets: &Secrets) {
        let keys = self.targets().master_keys.as_deref();
        subscription.secrets = secrets.seal(keys, subscription.id, rand::random());
    }

    pub(super) fn open(&self, subscription: &Subscription) -> Result<Secrets, ApiError> {
        Ok(Secrets::open(&subscription.secrets, self.targets().master_keys.as_deref(), subscription.id)?)
    }

    pub(super) fn view(&self, status: SubscriptionStatus) -> Result<View, ApiError> {
        let secrets = self.open(&status.subscription)?;
        Ok(View::new(status, Ok(&secrets), &self.targets().defaults, self.consent, self.clock.now()))
    }

    /// The same, or what can be shown of it where its secrets cannot be read.
    fn view_in_any_case(&self, status: SubscriptionStatus) -> View {
        let opened = self.open(&status.subscription);
        let secrets = opened.as_ref().map_err(ApiError::detail);
        View::new(status, secrets, &self.targets().defaults, self.consent, self.clock.now())
    }

    /// The same after its callback was asked whether it wants the events.
    fn view_answered(&self, Answered { status, refusal }: Answered) -> Result<View, ApiError> {
        let mut view = self.view(status)?;
        view.consent_refusal = refusal;
        Ok(view)
    }

    /// Changes a subscription by what `change` does to it and to its secrets, which may be done several times, unless it refuses.
    pub(super) async fn change_subscription(
        &self,
        account: AccountId,
        id: SubscriptionId,
        change: impl Fn(&mut Subscription, &mut Secrets) -> Result<(), ApiError>,
    ) -> Result<SubscriptionStatus, ApiError> {
        for _ in 0..TRIES {
            let mut subscription = self.store.subscription(account, id).await.map_err(not_found)?.subscription;
            let mut secrets = self.open(&subscription)?;
            change(&mut subscription, &mut secrets)?;
            self.seal(&mut subscription, &secrets);
            match self.store.replace(subscription).await.map_err(not_found)? {
                Replaced::Done(status) => return Ok(*status),
                Replaced::Outdated => {}
                Replaced::Taken => {
                    return Err(ApiError::conflict("you have another subscription for this event and URL"));
                }
            }
        }
        Err(ApiError::unavailable("others change this subscription all the time; try again"))
    }
}

/// Subscribes to events.
///
/// Whoever subscribes once more to the same events at the same URL gets the subscription that is there, unchanged. Whoever has as
/// many as the account may have gets `403` with the code `quota-exceeded`.
#[utoipa::path(
    post,
    path = "/webhooks/subscribe",
    operation_id = "subscribe",
    tag = "Subscriptions",
    request_body(content = NewSubscription, example = json!({"event": ["relation_*", "object_updated"],
        "url": "https://hooks.example.org/citations", "filter": "$.payload[?@.status == \"new\"]", "ordering": "key",
        "signature": "ed25519", "auth": {"type": "bearer", "token": "s3cret"}, "retries": ["5s", "1m", "1h"]})),
    security(("access" = [])),
    responses(
        (status = 200, description = "The subscription that is there.", body = View, example = json!(subscription_view::example(false))),
        (status = 201, description = "The new subscription, with its secret, which is shown this once.", body = View, example = json!(subscription_view::example(true))),
        Body, Missing, Protected
    )
)]
pub async fn subscribe(State(state): State<ApiState>, request: Request) -> Result<Response, ApiError> {
    let account = auth::writer(&state, request.headers()).await?;
    let body = body::read_json(&state, request, body::SMALL).await?;
    let mut fields = Fields::parse(&body.bytes)?;
    let events = wishes::events(&mut fields)?.ok_or_else(|| ApiError::invalid_field("event", "is missing"))?;
    let url = fields.string_or_null("url")?;
    if url.is_none() {
        pull::check_members(&fields)?;
    }
    let wishes = Wishes::take(&mut fields, &state).await?;
    fields.finish(KNOWN)?;
    let url = match url {
        Some(url) => Some(state.callback(&url).await?),
        None => None,
    };
    let mut subscription = new_subscription(&state, &account, events, url.as_ref());
    wishes.apply_to_options(&mut subscription.options);
    let mut secrets = Secrets::default();
    if let Some(url) = url {
        secrets.keys = Keyring::new(wishes.first_secret());
        wishes.apply_to_credentials(&mut secrets);
        check_certificate("tls", url.as_str(), &secrets)?;
        subscription.options.pending = consent::required(&subscription.options, state.consent);
        subscription.is_active = subscription.options.pending.is_none();
    } else {
        pull::settle(&mut subscription)?;
    }
    state.seal(&mut subscription, &secrets);

    let subscribed = quotas::subscribe(&state, subscription).await?;
    state.refresh_catalogue().await;
    if !subscribed.created {
        return Ok(Json(state.view(subscribed.status)?).into_response());
    }
    let mut view = state.view_answered(consent::ask(&state, subscribed.status).await?)?;
    view.secret = secrets.keys.current().map(Secret::reveal);
    Ok((StatusCode::CREATED, Json(view)).into_response())
}

/// Refuses a client certificate that no connection to the URL would show.
fn check_certificate(field: &str, url: &str, secrets: &Secrets) -> Result<(), ApiError> {
    if secrets.tls.is_none() || url.starts_with("https://") {
        return Ok(());
    }
    let problem = "connections to a `url` that begins with `http://` show no client certificate: make it `https://`, or go \
                   without `tls`";
    Err(ApiError::invalid_value(field, &problem))
}

fn new_subscription(
    state: &ApiState,
    account: &Account,
    events: EventPatterns,
    url: Option<&CallbackUrl>,
) -> Subscription {
    let now = state.clock.now();
    Subscription {
        id: SubscriptionId::new(now, rand::random()),
        account: account.id,
        user_id: account.user_id.clone(),
        events,
        url: url.map(|url| url.as_str().to_owned()),
        options: Options::default(),
        secrets: hookcast_core::sealing::Sealed::from_bytes(Vec::new()),
        is_active: true,
        health: Health::default(),
        created_at: now,
        version: 0,
    }
}

/// Lists the account's subscriptions.
#[utoipa::path(
    get,
    path = "/webhooks/subscriptions",
    operation_id = "listSubscriptions",
    tag = "Subscriptions",
    params(PageParameters),
    security(("access" = [])),
    responses(
        (status = 200, description = "A page of them.", body = List<View>, example = json!({"data": [], "next_cursor": null})),
        Parameters, Protected
    )
)]
pub async fn list(State(state): State<ApiState>, headers: HeaderMap, uri: Uri) -> Result<Response, ApiError> {
    let account = auth::reader(&state, &headers).await?;
    let page = state.store.subscriptions(Some(account.id), query::page(&uri)?).await?;
    let views: Vec<View> = page.items.into_iter().map(|status| state.view_in_any_case(status)).collect();
    Ok(Json(List::new(views, page.next)).into_response())
}

/// Shows a subscription.
#[utoipa::path(
    get,
    path = "/webhooks/subscriptions/{id}",
    operation_id = "showSubscription",
    tag = "Subscriptions",
    params(("id" = String, Path, description = "The subscription's id.", pattern = "^sub_[0-9a-f]{32}$")),
    security(("access" = [])),
    responses(
        (status = 200, description = "The subscription.", body = View, example = json!(subscription_view::example(false))),
        Missing, Protected
    )
)]
pub async fn show(State(state): State<ApiState>, id: query::Segment, headers: HeaderMap) -> Result<Response, ApiError> {
    let account = auth::reader(&state, &headers).await?;
    let status = state.store.subscription(account.id, query::id(id)?).await.map_err(not_found)?;
    Ok(Json(state.view_in_any_case(status)).into_response())
}

/// What a request changes, besides whether the subscription is active.
struct Change {
    events: Option<EventPatterns>,
    url: Option<String>,
    wishes: Wishes,
    /// Whether there is anything at all.
    is_any: bool,
}

impl Change {
    fn apply(&self, subscription: &mut Subscription, consent: Option<Consent>) {
        let before = subscription.clone();
        if let Some(events) = &self.events {
            subscription.events.clone_from(events);
        }
        if let Some(url) = &self.url {
            subscription.url = Some(url.clone());
        }
        self.wishes.apply_to_options(&mut subscription.options);
        consent::after_change(&before, subscription, consent);
    }
}

/// Changes a subscription.
#[utoipa::path(
    patch,
    path = "/webhooks/subscriptions/{id}",
    operation_id = "changeSubscription",
    tag = "Subscriptions",
    params(("id" = String, Path, description = "The subscription's id.", pattern = "^sub_[0-9a-f]{32}$")),
    request_body(content = SubscriptionChange, example = json!({"is_active": true, "rate_limit": 50, "timeout": "5s", "filter": null,
        "retries": {"first": "5s", "factor": 2, "longest": "1h", "count": 10}})),
    security(("access" = [])),
    responses(
        (status = 200, description = "The subscription after the change, with its secret if that is new.", body = View, example = json!(subscription_view::example(false))),
        Body, Conflicting, Missing, Protected
    )
)]
pub async fn change(State(state): State<ApiState>, id: query::Segment, request: Request) -> Result<Response, ApiError> {
    let account = auth::writer(&state, request.headers()).await?;
    let id = query::id(id)?;
    let body = body::read_json(&state, request, body::SMALL).await?;
    let mut fields = Fields::parse(&body.bytes)?;
    let before = state.store.subscription(account.id, id).await.map_err(not_found)?;
    if before.subscription.url.is_none() {
        pull::check_change(&fields)?;
    }
    let is_active = fields.optional_bool("is_active")?;
    let is_any = !fields.is_empty();
    let events = wishes::events(&mut fields)?;
    let url = if fields.has("url") { Some(fields.string("url")?.into_owned()) } else { None };
    let wishes = Wishes::take(&mut fields, &state).await?;
    fields.finish(&format!("`is_active`, {KNOWN}"))?;
    // What cannot be shown afterwards is not changed.
    state.open(&before.subscription)?;
    let url = match url {
        Some(url) => Some(state.callback(&url).await?.as_str().to_owned()),
        None => None,
    };
    let change = Change { events, url, wishes, is_any };
    let mut preview = before.subscription.clone();
    change.apply(&mut preview, state.consent);
    if is_active == Some(true) && consent::owes_still(&before.subscription, &preview) {
        return Err(ApiError::conflict(
            "the callback has yet to prove that it wants the events: POST to this subscription's path with `/verify`",
        ));
    }

    let (status, shown) = make_change(&state, before.clone(), &change).await?;
    let answered = settle(&state, &before.subscription, status, is_active).await?;
    state.refresh_catalogue().await;
    state.dispatcher.wake();
    let mut view = state.view_answered(answered)?;
    view.secret = shown;
    Ok(Json(view).into_response())
}

/// Changes a subscription; the secret that is new, if one is.
async fn make_change(
    state: &ApiState,
    before: SubscriptionStatus,
    change: &Change,
) -> Result<(SubscriptionStatus, Option<String>), ApiError> {
    if !change.is_any {
        return Ok((before, None));
    }
    let now = state.clock.now();
    let new_secret = change.wishes.new_secret(state.open(&before.subscription)?.keys.scheme());
    let Subscription { account, id, .. } = before.subscription;
    let status = state
        .change_subscription(account, id, |subscription, secrets| {
            change.apply(subscription, state.consent);
            change.wishes.apply_to_credentials(secrets);
            match &subscription.url {
                None => pull::settle(subscription)?,
                Some(url) if change.wishes.brings_certificate() => check_certificate("tls", url, secrets)?,
                Some(url) if change.url.is_some() => check_certificate("url", url, secrets)?,
                Some(_) => {}
            }
            if let Some(secret) = &new_secret {
                secrets.keys.rotate(secret.clone(), wishes::OVERLAP, now);
            }
            Ok(())
        })
        .await?;
    Ok((status, new_secret.flatten().map(|secret| secret.reveal())))
}

/// Makes a changed subscription active or inactive. Where its callback owes a new proof, it is asked at once, unless the owner does
/// not want the subscription active.
async fn settle(
    state: &ApiState,
    before: &Subscription,
    status: SubscriptionStatus,
    is_active: Option<bool>,
) -> Result<Answered, ApiError> {
    let now = &status.subscription;
    let is_owed = now.options.pending.is_some();
    let set_active = async |is_active| {
        let set = state.store.set_active(now.account, now.id, is_active, state.clock.now()).await;
        set.map_err(not_found)
    };
    if !is_owed {
        let status = match is_active {
            Some(is_active) => set_active(is_active).await?,
            None => status,
        };
        return Ok(Answered { status, refusal: None });
    }
    let is_wanted = is_active.unwrap_or(before.is_active || before.options.pending.is_some());
    let is_new = !consent::owes_still(before, now);
    let status = if now.is_active { set_active(false).await? } else { status };
    if !(is_wanted && is_new) {
        return Ok(Answered { status, refusal: None });
    }
    state.refresh_catalogue().await;
    consent::ask(state, status).await
}

/// Deletes a subscription. What still waits for it is cancelled.
#[utoipa::path(
    delete,
    path = "/webhooks/subscriptions/{id}",
    operation_id = "unsubscribe",
    tag = "Subscriptions",
    params(("id" = String, Path, description = "The subscription's id.", pattern = "^sub_[0-9a-f]{32}$")),
    security(("access" = [])),
    responses(
        (status = 204, description = "It is gone."),
        Missing, Protected
    )
)]
pub async fn remove(
    State(state): State<ApiState>,
    id: query::Segment,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let account = auth::writer(&state, &headers).await?;
    state.store.unsubscribe(account.id, query::id(id)?, state.clock.now()).await.map_err(not_found)?;
    state.refresh_catalogue().await;
    Ok(StatusCode::NO_CONTENT.into_response())
}

/// Asks the callback now whether it wants the events.
#[utoipa::path(
    post,
    path = "/webhooks/subscriptions/{id}/verify",
    operation_id = "verify",
    tag = "Subscriptions",
    params(("id" = String, Path, description = "The subscription's id.", pattern = "^sub_[0-9a-f]{32}$")),
    security(("access" = [])),
    responses(
        (status = 200, description = "The subscription; `consent_refusal` says why it has not agreed.", body = View, example = json!(subscription_view::example(false))),
        Conflicting, Missing, Protected
    )
)]
pub async fn verify(
    State(state): State<ApiState>,
    id: query::Segment,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let account = auth::writer(&state, &headers).await?;
    let status = state.store.subscription(account.id, query::id(id)?).await.map_err(not_found)?;
    pull::needs_callback(&status.subscription)?;
    let answered = consent::ask(&state, status).await?;
    Ok(Json(state.view_answered(answered)?).into_response())
}
