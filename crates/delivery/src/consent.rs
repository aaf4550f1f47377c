//! Asking a callback whether it wants events, so that nobody can aim Hookcast at somebody who does not.

use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Response, Uri, header};

use crate::{
    courier::{Courier, USER_AGENT},
    target::Target,
};

/// The longest answer that is read, in bytes.
const ANSWER_MAX: usize = 4_096;

/// What a callback says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Asked {
    /// It wants events, perhaps only so many in a minute.
    Agreed {
        /// `WebHook-Allowed-Rate`, unless there is no limit.
        rate_per_minute: Option<u32>,
    },
    /// It does not, or says nothing of the kind.
    Refused(String),
}

fn refused(reason: impl Into<String>) -> Asked {
    Asked::Refused(reason.into())
}

impl Courier {
    /// Asks with an `OPTIONS` request (CloudEvents HTTP 1.1 Web Hooks, section 4). `origin` is the name of this service.
    pub async fn ask_by_options(&self, target: &Target, origin: &str) -> Asked {
        let mut headers = base_headers();
        let Ok(origin_value) = HeaderValue::try_from(origin) else { return refused("the service's name is no header") };
        headers.insert("webhook-request-origin", origin_value);
        let answer = match self.ask(target, Method::OPTIONS, None, headers).await {
            Ok(answer) => answer,
            Err(reason) => return refused(reason),
        };
        if !answer.status().is_success() {
            return refused(format!("it answered {}", answer.status().as_u16()));
        }
        let text = |name: &str| answer.headers().get(name).and_then(|value| value.to_str().ok()).map(str::trim);
        match text("webhook-allowed-origin") {
            Some("*") => {}
            Some(allowed) if allowed.eq_ignore_ascii_case(origin) => {}
            Some(_) => return refused("its `WebHook-Allowed-Origin` names others"),
            None => return refused("its answer has no `WebHook-Allowed-Origin`"),
        }
        match text("webhook-allowed-rate") {
            None | Some("*") => Asked::Agreed { rate_per_minute: None },
            Some(rate) => match rate.parse::<u32>().ok().filter(|rate| *rate > 0) {
                Some(rate) => Asked::Agreed { rate_per_minute: Some(rate) },
                None => refused("its `WebHook-Allowed-Rate` is no number of requests in a minute"),
            },
        }
    }

    /// Asks with a `GET` request that has a challenge, which the callback sends back as the whole body of a 2xx answer (as WebSub
    /// verifies intent, section 5.3).
    pub async fn ask_by_challenge(&self, target: &Target, random: [u8; 24]) -> Asked {
        let challenge = BASE64_URL_SAFE_NO_PAD.encode(random);
        let answer = match self.ask(target, Method::GET, Some(&challenge), base_headers()).await {
            Ok(answer) => answer,
            Err(reason) => return refused(reason),
        };
        if !answer.status().is_success() {
            return refused(format!("it answered {}", answer.status().as_u16()));
        }
        if answer.body().trim_ascii() == challenge.as_bytes() {
            Asked::Agreed { rate_per_minute: None }
        } else {
            refused("its answer is not the challenge")
        }
    }

    async fn ask(
        &self,
        target: &Target,
        method: Method,
        challenge: Option<&str>,
        headers: HeaderMap,
    ) -> Result<Response<Bytes>, String> {
        let access = target.access.as_ref().map_err(Clone::clone)?;
        let uri = target.uri.as_ref().ok_or("the callback URL does not fit into a request")?;
        let uri = match challenge {
            Some(challenge) => with_challenge(uri, challenge).ok_or("the callback URL is too long")?,
            None => uri.clone(),
        };
        let mut request = http::Request::new(Bytes::new());
        *request.method_mut() = method;
        *request.uri_mut() = uri;
        *request.headers_mut() = headers;
        let asked = async {
            match &access.credentials {
                None => self.client().exchange(request, ANSWER_MAX).await,
                Some(credentials) => self.client().exchange_as(credentials, request, ANSWER_MAX).await,
            }
        };
        match tokio::time::timeout(target.timeout, asked).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(failed)) => Err(failed.detail),
            Err(_) => Err("it did not answer in time".into()),
        }
    }
}

fn base_headers() -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert(header::USER_AGENT, HeaderValue::from_static(USER_AGENT));
    headers
}

/// The URI with the parameters that WebSub has for this.
fn with_challenge(uri: &Uri, challenge: &str) -> Option<Uri> {
    let text = uri.to_string();
    let joint = if uri.query().is_some() { '&' } else { '?' };
    format!("{text}{joint}hub.mode=subscribe&hub.challenge={challenge}").parse().ok()
}
