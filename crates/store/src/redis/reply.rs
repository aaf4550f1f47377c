//! What a script answers: a status, and values one after the other.

use std::vec::IntoIter;

use redis::Value;

use crate::error::StoreError;

/// The values of an answer that have not been read yet.
pub(super) struct Reply {
    status: String,
    values: IntoIter<Value>,
}

impl Reply {
    /// Reads a script's answer as far as its status.
    pub(super) fn new(value: Value) -> Result<Self, StoreError> {
        let mut reply = Self::of(value)?;
        reply.status = reply.text()?;
        Ok(reply)
    }

    fn of(value: Value) -> Result<Self, StoreError> {
        match value {
            Value::Array(values) => Ok(Self { status: String::new(), values: values.into_iter() }),
            _ => Err(malformed()),
        }
    }

    pub(super) fn status(&self) -> &str {
        &self.status
    }

    /// Turns the statuses that mean the same in every script into errors.
    pub(super) fn expect_ok(&self) -> Result<(), StoreError> {
        match self.status.as_str() {
            "ok" => Ok(()),
            "missing" => Err(StoreError::NotFound),
            "conflict" => Err(StoreError::Conflict),
            "full" => Err(StoreError::Full("it has reached the size that it may have".into())),
            _ => Err(malformed()),
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.values.len() == 0
    }

    /// An answer with a status of its own, in the list.
    pub(super) fn answer(&mut self) -> Result<Self, StoreError> {
        Self::new(self.next()?)
    }

    fn next(&mut self) -> Result<Value, StoreError> {
        self.values.next().ok_or_else(malformed)
    }

    /// A list in the list.
    pub(super) fn list(&mut self) -> Result<Self, StoreError> {
        Self::of(self.next()?)
    }

    pub(super) fn optional_bytes(&mut self) -> Result<Option<Vec<u8>>, StoreError> {
        match self.next()? {
            Value::Nil => Ok(None),
            Value::BulkString(bytes) => Ok(Some(bytes)),
            Value::SimpleString(text) => Ok(Some(text.into_bytes())),
            Value::Int(number) => Ok(Some(number.to_string().into_bytes())),
            _ => Err(malformed()),
        }
    }

    pub(super) fn bytes(&mut self) -> Result<Vec<u8>, StoreError> {
        self.optional_bytes()?.ok_or_else(malformed)
    }

    /// Bytes of a fixed number, such as an id.
    pub(super) fn array<const N: usize>(&mut self) -> Result<[u8; N], StoreError> {
        self.bytes()?.try_into().map_err(|_| malformed())
    }

    pub(super) fn optional_text(&mut self) -> Result<Option<String>, StoreError> {
        self.optional_bytes()?.map(|bytes| String::from_utf8(bytes).map_err(|_| malformed())).transpose()
    }

    pub(super) fn text(&mut self) -> Result<String, StoreError> {
        self.optional_text()?.ok_or_else(malformed)
    }

    /// A number; none where there is nothing or an empty text.
    pub(super) fn optional_int(&mut self) -> Result<Option<i64>, StoreError> {
        let text = self.optional_text()?.filter(|text| !text.is_empty());
        text.map(|text| text.parse().map_err(|_| malformed())).transpose()
    }

    pub(super) fn int(&mut self) -> Result<i64, StoreError> {
        self.optional_int()?.ok_or_else(malformed)
    }

    pub(super) fn natural(&mut self) -> Result<u64, StoreError> {
        u64::try_from(self.int()?).map_err(|_| malformed())
    }

    pub(super) fn flag(&mut self) -> Result<bool, StoreError> {
        Ok(self.int()? != 0)
    }
}

/// An answer that no script of this version gives.
pub(super) fn malformed() -> StoreError {
    StoreError::Corrupt("the Redis server's answer makes no sense".into())
}
