//! Parameters of lists, and ids in paths.

use std::{fmt::Display, str::FromStr};

use axum::extract::{Path, rejection::PathRejection};
use hookcast_core::clock::Timestamp;
use hookcast_store::PageRequest;
use http::Uri;
use utoipa::{IntoParams, ToSchema};

use super::error::ApiError;

/// Items on a page where the request does not say.
const DEFAULT_LIMIT: u32 = 100;

/// The most items on a page.
const MAX_LIMIT: u32 = 1_000;

/// How a page of a list is asked for. [`page`] reads it.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "it describes parameters, which are never read into it")]
pub struct PageParameters {
    /// Items on the page.
    #[param(minimum = 1, maximum = 1000, default = 100)]
    limit: Option<u32>,
    /// The `next_cursor` of the page before.
    cursor: Option<String>,
}

/// Reads `limit` and `cursor`.
pub fn page(uri: &Uri) -> Result<PageRequest, ApiError> {
    Ok(PageRequest { limit: page_limit(uri)?, cursor: parsed(uri, "cursor")? })
}

/// Reads `limit`.
pub fn page_limit(uri: &Uri) -> Result<u32, ApiError> {
    let Some(text) = parameter(uri, "limit") else { return Ok(DEFAULT_LIMIT) };
    let rule = || ApiError::invalid_field("limit", &format!("must be a number from 1 to {MAX_LIMIT}"));
    text.parse().ok().filter(|limit| (1..=MAX_LIMIT).contains(limit)).ok_or_else(rule)
}

/// Reads a parameter of a type that says itself what is wrong.
pub fn parsed<T: FromStr<Err: Display>>(uri: &Uri, name: &str) -> Result<Option<T>, ApiError> {
    let parse = |text: String| text.parse().map_err(|error: T::Err| ApiError::invalid_field(name, &error.to_string()));
    parameter(uri, name).map(parse).transpose()
}

/// Reads a time.
pub fn time(uri: &Uri, name: &str) -> Result<Option<Timestamp>, ApiError> {
    parameter(uri, name).map(|text| parse_time(name, &text)).transpose()
}

/// Reads a time from the field or the parameter of this name.
pub fn parse_time(name: &str, text: &str) -> Result<Timestamp, ApiError> {
    Timestamp::parse(text)
        .ok_or_else(|| ApiError::invalid_field(name, "must be a time such as `2026-11-01T12:00:00Z` (RFC 3339)"))
}

fn parameter(uri: &Uri, name: &str) -> Option<String> {
    let query = uri.query()?;
    url::form_urlencoded::parse(query.as_bytes()).find(|(given, _)| given == name).map(|(_, value)| value.into_owned())
}

/// The part of a path where an id belongs, if it is text at all.
pub type Segment = Result<Path<String>, PathRejection>;

/// Reads an id from a path. A malformed one names nothing, so that it is not found.
pub fn id<T: FromStr<Err: Display>>(segment: Segment) -> Result<T, ApiError> {
    let Path(text) = segment.map_err(|rejection| ApiError::not_found(rejection.body_text()))?;
    text.parse().map_err(|error: T::Err| ApiError::not_found(error.to_string()))
}

/// The two parts of a path where ids belong, if they are text at all.
pub type Segments = Result<Path<(String, String)>, PathRejection>;

/// Reads two ids from a path. Malformed ones name nothing, so that they are not found.
pub fn two_ids<S, T>(segments: Segments) -> Result<(S, T), ApiError>
where
    S: FromStr<Err: Display>,
    T: FromStr<Err: Display>,
{
    let Path((first, second)) = segments.map_err(|rejection| ApiError::not_found(rejection.body_text()))?;
    Ok((id(Ok(Path(first)))?, id(Ok(Path(second)))?))
}

/// A page of a list, as it is answered.
#[derive(serde::Serialize, ToSchema)]
pub struct List<T> {
    data: Vec<T>,
    /// What to ask for the next page with, if there is one.
    next_cursor: Option<String>,
}

impl<T> List<T> {
    /// A page with these items.
    pub fn new(data: Vec<T>, next: Option<hookcast_store::Cursor>) -> Self {
        Self { data, next_cursor: next.map(|cursor| cursor.to_string()) }
    }
}
