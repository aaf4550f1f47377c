//! Ids: a UUID that sorts by time, behind a prefix that says what it names.

use std::{
    cmp::Ordering,
    collections::HashMap,
    fmt,
    str::FromStr,
    sync::atomic::{AtomicU64, Ordering::Relaxed},
};

use serde::{Serialize, Serializer};
use uuid::Uuid;

use crate::clock::Timestamp;

/// What is found by an id, or by another key that nobody from outside has chosen: its hashes are quick, and could be made to collide by
/// whoever chooses the keys.
pub type IdMap<K, V> = HashMap<K, V, foldhash::fast::RandomState>;

/// The text is no id of the wanted kind.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("an id here looks like `{prefix}` followed by 32 hexadecimal digits")]
pub struct InvalidId {
    prefix: &'static str,
}

macro_rules! id {
    ($(#[$doc:meta])* $name:ident, $prefix:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Uuid);

        impl $name {
            /// What every id of this kind begins with.
            pub const PREFIX: &'static str = $prefix;

            /// The UUID as 16 bytes, the form in which stores keep it.
            #[must_use]
            pub fn to_bytes(self) -> [u8; 16] {
                self.0.into_bytes()
            }

            /// The id with these 16 bytes.
            #[must_use]
            pub const fn from_bytes(bytes: [u8; 16]) -> Self {
                Self(Uuid::from_bytes(bytes))
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}{}", Self::PREFIX, self.0.simple())
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }

        impl FromStr for $name {
            type Err = InvalidId;

            fn from_str(text: &str) -> Result<Self, InvalidId> {
                text.strip_prefix(Self::PREFIX)
                    .filter(|hex| hex.len() == 32 && hex.bytes().all(|b| b.is_ascii_hexdigit()))
                    .and_then(|hex| Uuid::try_parse(hex).ok())
                    .map(Self)
                    .ok_or(InvalidId { prefix: Self::PREFIX })
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }
    };
}

id!(
    /// An account's id.
    AccountId,
    "acc_"
);
id!(
    /// A subscription's id.
    SubscriptionId,
    "sub_"
);
id!(
    /// An event's id: the same in the answer to its trigger, in every delivery and on every try.
    EventId,
    "evt_"
);
id!(
    /// A delivery's id. It carries the delivery's position, so that a store finds the row without an index of its own.
    DeliveryId,
    "dlv_"
);
id!(
    /// A notice's id: the same wherever the notice is told, and however often.
    NoticeId,
    "ntc_"
);
id!(
    /// A replay's id.
    ReplayId,
    "rpl_"
);

macro_rules! random_id {
    ($($name:ident),*) => {$(
        impl $name {
            /// A new id: a UUIDv7 (RFC 9562, section 5.7) of this time and these random bits.
            #[must_use]
            pub fn new(now: Timestamp, random: [u8; 10]) -> Self {
                let millis = u64::try_from(now.as_millis()).unwrap_or(0);
                Self(uuid::Builder::from_unix_timestamp_millis(millis, &random).into_uuid())
            }

            /// The time that it was made with: that of what it names, to the millisecond.
            #[must_use]
            pub fn time(self) -> Timestamp {
                Timestamp::from_millis(i64::try_from(self.0.as_u128() >> 80).unwrap_or(0))
            }
        }
    )*};
}
random_id!(AccountId, SubscriptionId, EventId, NoticeId, ReplayId);

/// The last id in sequence: its millisecond, and in the low 12 bits its number within it.
static LAST: AtomicU64 = AtomicU64::new(0);

const NUMBER_BITS: u64 = 0xfff;

/// The next number within a millisecond; the highest one for all that are too many or come late.
fn next_number(last: &AtomicU64, millis: u64) -> u16 {
    let next = |last: u64| match millis.cmp(&(last >> 12)) {
        Ordering::Greater => Some(millis << 12),
        Ordering::Equal if last & NUMBER_BITS < NUMBER_BITS => Some(last + 1),
        _ => None,
    };
    let before = last.fetch_update(Relaxed, Relaxed, next);
    before.map_or(NUMBER_BITS, |before| next(before).unwrap_or(before) & NUMBER_BITS) as u16
}

impl EventId {
    /// A new id, higher than those that this process has made in sequence before: what comes one after the other is told in that
    /// order, even within a millisecond. The 12 bits behind the time count (RFC 9562, section 6.2, method 1).
    #[must_use]
    pub fn next(now: Timestamp, random: [u8; 8]) -> Self {
        let number = next_number(&LAST, u64::try_from(now.as_millis()).unwrap_or(0));
        let mut bits = [0; 10];
        bits[..2].copy_from_slice(&number.to_be_bytes());
        bits[2..].copy_from_slice(&random);
        Self::new(now, bits)
    }

    /// Of all ids of events of this time and later the least possible one.
    #[must_use]
    pub fn least(time: Timestamp) -> Self {
        Self(Uuid::from_u128(u128::try_from(time.as_millis()).unwrap_or(0) << 80))
    }
}

const POSITION_BITS: u128 = (1 << 62) - 1;

impl DeliveryId {
    /// The id of the delivery at `position` in its store, of an event of this time: a UUIDv8 (RFC 9562, section 5.8) with
    /// the time where a UUIDv7 has it and the position in the last 62 bits.
    #[must_use]
    pub fn from_position(time: Timestamp, position: u64) -> Self {
        let millis = u128::try_from(time.as_millis()).unwrap_or(0) & ((1 << 48) - 1);
        Self(Uuid::from_u128(millis << 80 | 0x8 << 76 | 0b10 << 62 | u128::from(position) & POSITION_BITS))
    }

    /// The delivery's place in its store.
    #[must_use]
    pub fn position(self) -> u64 {
        u64::try_from(self.0.as_u128() & POSITION_BITS).unwrap_or(0)
    }

    /// The time of its event.
    #[must_use]
    pub fn time(self) -> Timestamp {
        Timestamp::from_millis(i64::try_from(self.0.as_u128() >> 80).unwrap_or(0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_read_back_as_they_are_written_and_sort_by_time() {
        let early = EventId::new(Timestamp::from_millis(1_000), [0xff; 10]);
        let late = EventId::new(Timestamp::from_millis(2_000), [0; 10]);
        assert!(early < late);
        assert!(early.to_string() < late.to_string());
        assert_eq!(early.to_string().parse(), Ok(early));
        assert_eq!(EventId::from_bytes(early.to_bytes()), early);
    }

    #[test]
    fn ids_in_sequence_rise_within_a_millisecond() {
        let now = Timestamp::from_millis(1_769_860_800_012);
        let ids: Vec<_> = (0..1_000).map(|n: u16| EventId::next(now, [255 - n.to_be_bytes()[1]; 8])).collect();
        assert!(ids.is_sorted());
        assert_eq!(ids[0].time(), now);
    }

    #[test]
    fn numbers_begin_anew_with_each_millisecond_and_end_at_the_highest() {
        let last = AtomicU64::new(0);
        assert_eq!([7, 7, 8, 8].map(|millis| next_number(&last, millis)), [0, 1, 0, 1]);
        assert_eq!(next_number(&last, 7), 0xfff, "one that comes late is behind those of its time");
        assert_eq!(next_number(&last, 8), 2);
        let rest: Vec<_> = (3..5_000).map(|_| next_number(&last, 8)).collect();
        assert!(rest.is_sorted());
        assert_eq!(rest.last(), Some(&0xfff));
        assert_eq!(next_number(&last, 9), 0);
    }

    #[test]
    fn ids_of_another_kind_or_form_are_refused() {
        let event = EventId::new(Timestamp::from_millis(1_000), [1; 10]);
        for text in ["", "evt_", "evt_123", &event.to_string().replace("evt_", "sub_"), &format!("{event}0")] {
            assert!(text.parse::<EventId>().is_err(), "{text}");
        }
        assert!("evt_0193-0193-0193-0193-0193-0193-01".parse::<EventId>().is_err());
    }

    #[test]
    fn a_delivery_id_carries_its_position_and_time() {
        let id = DeliveryId::from_position(Timestamp::from_millis(1_769_860_800_012), 10_000_000_000);
        assert_eq!(id.position(), 10_000_000_000);
        assert_eq!(id.time(), Timestamp::from_millis(1_769_860_800_012));
        assert_eq!(id.to_string().parse(), Ok(id));
        let uuid = Uuid::from_bytes(id.to_bytes());
        assert_eq!((uuid.get_version_num(), uuid.get_variant()), (8, uuid::Variant::RFC4122));
    }
}
