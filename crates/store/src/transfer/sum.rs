//! The sum of a section's items: equal when two stores keep the same, in whatever order they tell it.

use hookcast_core::{
    account::Account,
    delivery::{Attempt, AttemptResult},
    subscription::{Health, Subscription},
    token::AccessToken,
};
use sha2::{Digest as _, Sha256};

use crate::code::{extra_text, options_text, url_text};

use super::{
    AccountItem, DeliveryItem, DocumentItem, EventItem, FingerprintItem, IdempotencyKeyItem, Item, NoticeItem,
    SubscriptionItem, TokenItem,
};

/// How many items, and the sum of their SHA-256 digests in two halves.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Sum {
    pub(super) count: u64,
    halves: [u128; 2],
}

impl Sum {
    pub(super) fn add(&mut self, item: &Item) {
        let digest = digest(item);
        let (low, high) = digest.split_at(16);
        for (half, part) in self.halves.iter_mut().zip([low, high]) {
            let number = part.iter().fold(0, |number, byte| number << 8 | u128::from(*byte));
            *half = half.wrapping_add(number);
        }
        self.count += 1;
    }
}

fn digest(item: &Item) -> [u8; 32] {
    let mut fields = Fields::default();
    match item {
        Item::Account(item) => fields.account(item),
        Item::Token(item) => fields.token(item),
        Item::Subscription(item) => fields.subscription(item),
        Item::Event(item) => fields.event(item),
        Item::Delivery(item) => fields.delivery(item),
        Item::Fingerprint(item) => fields.fingerprint(item),
        Item::IdempotencyKey(item) => fields.idempotency_key(item),
        Item::Notice(item) => fields.notice(item),
        Item::Document(item) => fields.document(item),
    }
    fields.0.finalize().into()
}

/// Fields one after the other, each behind its length, so that no two items look alike. Secrets go through it and leave no trace.
#[derive(Default)]
struct Fields(Sha256);

impl Fields {
    fn put(&mut self, field: impl AsRef<[u8]>) {
        let field = field.as_ref();
        self.0.update(u64::try_from(field.len()).unwrap_or(u64::MAX).to_be_bytes());
        self.0.update(field);
    }

    fn number(&mut self, number: impl Into<i128>) {
        self.put(number.into().to_be_bytes());
    }

    fn optional(&mut self, number: Option<impl Into<i128>>) {
        match number {
            Some(number) => self.number(number),
            None => self.put([]),
        }
    }

    fn account(&mut self, item: &AccountItem) {
        let AccountItem { account, deleted_at } = item;
        let Account { id, user_id, user_email, created_at } = account;
        self.put(id.to_bytes());
        self.put(user_id);
        self.number(u8::from(user_email.is_some()));
        self.put(user_email.as_deref().unwrap_or_default());
        self.number(created_at.as_millis());
        self.optional(deleted_at.map(|time| time.as_millis()));
    }

    fn token(&mut self, item: &TokenItem) {
        let TokenItem { account, token, hash } = item;
        let AccessToken { name, scope, created_at, expires_at } = token;
        self.put(account.to_bytes());
        self.put(name.as_str());
        self.put(scope.as_str());
        self.number(created_at.as_millis());
        self.optional(expires_at.map(|time| time.as_millis()));
        self.put(hash.to_bytes());
    }

    fn subscription(&mut self, item: &SubscriptionItem) {
        let SubscriptionItem { subscription, deleted_at, expired } = item;
        let Subscription {
            id,
            account,
            user_id: _,
            events,
            url: _,
            options,
            secrets,
            is_active,
            health,
            created_at,
            version: _,
        } = subscription;
        let Health { failure_count, failing_since, failed_at, probe_at, recovered_at } = health;
        self.put(id.to_bytes());
        self.put(account.to_bytes());
        self.put(events.to_string());
        self.put(url_text(subscription));
        self.put(options_text(options).unwrap_or_default());
        self.put(secrets.as_bytes());
        self.number(u8::from(*is_active));
        self.number(*failure_count);
        for time in [failing_since, failed_at, probe_at, recovered_at] {
            self.optional(time.map(|time| time.as_millis()));
        }
        self.number(created_at.as_millis());
        self.optional(deleted_at.map(|time| time.as_millis()));
        self.number(*expired);
    }

    fn event(&mut self, item: &EventItem) {
        let EventItem { event, first_delivery, deliveries } = item;
        self.put(event.id.to_bytes());
        self.put(event.event_type.as_str());
        self.number(event.time.as_millis());
        self.put(event.md5.to_bytes());
        self.number(u8::from(event.key.is_some()));
        self.put(event.key.as_deref().unwrap_or_default());
        self.put(event.payload.get());
        self.put(extra_text(event).ok().flatten().unwrap_or_default());
        self.number(*deliveries);
        // Without deliveries the position says nothing.
        self.optional((*deliveries > 0).then_some(*first_delivery));
    }

    fn delivery(&mut self, item: &DeliveryItem) {
        let DeliveryItem { id, event, subscription, state, due_at, place, attempts } = item;
        self.put(id.to_bytes());
        self.put(event.to_bytes());
        self.put(subscription.to_bytes());
        self.put(state.as_str());
        self.optional(due_at.map(|time| time.as_millis()));
        self.optional(place.map(|place| place.group));
        self.optional(place.map(|place| place.sequence));
        for attempt in attempts {
            self.attempt(attempt);
        }
    }

    fn attempt(&mut self, attempt: &Attempt) {
        let Attempt { number, time, latency_ms, result } = attempt;
        self.number(*number);
        self.number(time.as_millis());
        self.number(*latency_ms);
        match result {
            AttemptResult::Answered(answer) => {
                self.number(answer.status);
                self.put(&answer.excerpt);
            }
            AttemptResult::Unanswered { failure, detail } => {
                self.put(failure.as_str());
                self.put(detail);
            }
        }
    }

    fn fingerprint(&mut self, item: &FingerprintItem) {
        let FingerprintItem { md5, event, first_at, expires_at } = item;
        self.put(md5.to_bytes());
        self.put(event.to_bytes());
        self.number(first_at.as_millis());
        self.optional(expires_at.map(|time| time.as_millis()));
    }

    fn idempotency_key(&mut self, item: &IdempotencyKeyItem) {
        let IdempotencyKeyItem { key, body_digest, receipts, expires_at } = item;
        self.put(key);
        self.put(body_digest);
        self.number(expires_at.as_millis());
        for receipt in receipts {
            self.put(receipt.id.to_bytes());
            self.put(&receipt.event);
            self.put(&receipt.time);
            self.put(&receipt.md5);
            self.number(u8::from(receipt.duplicate));
            self.number(receipt.subscriptions);
        }
    }

    fn document(&mut self, item: &DocumentItem) {
        let DocumentItem { kind, name, body } = item;
        self.put(kind.as_str());
        self.put(name);
        self.put(body);
    }

    fn notice(&mut self, item: &NoticeItem) {
        let NoticeItem { id, subscription, kind, time, reason, failure_count, failing_since, due_at, mail_begun } =
            item;
        self.put(id.to_bytes());
        self.put(subscription.to_bytes());
        self.put(kind.as_str());
        self.number(time.as_millis());
        self.put(reason);
        self.number(*failure_count);
        self.optional(failing_since.map(|time| time.as_millis()));
        self.number(due_at.as_millis());
        self.number(u8::from(*mail_begun));
    }
}

#[cfg(test)]
mod tests {
    use hookcast_core::{clock::Timestamp, id::AccountId, token::TokenHash};

    use super::*;

    fn account(name: &str, email: Option<&str>) -> Item {
        let created_at = Timestamp::from_millis(0);
        let id = AccountId::new(created_at, [1; 10]);
        let account = Account { id, user_id: name.into(), user_email: email.map(Into::into), created_at };
        Item::Account(AccountItem { account, deleted_at: None })
    }

    fn token(hash: u8, expires_at: Option<Timestamp>) -> Item {
        let created_at = Timestamp::from_millis(0);
        let account = AccountId::new(created_at, [1; 10]);
        let token = AccessToken { expires_at, ..AccessToken::first(created_at) };
        Item::Token(TokenItem { account, token, hash: TokenHash::from_bytes([hash; 32]) })
    }

    fn sum(items: &[Item]) -> Sum {
        let mut sum = Sum::default();
        items.iter().for_each(|item| sum.add(item));
        sum
    }

    #[test]
    fn the_order_does_not_count() {
        let (ada, bob) = (account("ada", None), account("bob", None));
        assert_eq!(sum(&[ada.clone(), bob.clone()]), sum(&[bob.clone(), ada.clone()]));
        assert_ne!(sum(&[ada.clone(), bob]), sum(&[ada.clone(), ada]));
    }

    #[test]
    fn everything_else_counts() {
        let ada = sum(&[account("ada", None)]);
        for other in [account("ad", Some("a")), account("ada", Some("")), account("ada", Some("a")), token(1, None)] {
            assert_ne!(ada, sum(&[other]));
        }
        for other in [token(2, None), token(1, Some(Timestamp::from_millis(0)))] {
            assert_ne!(sum(&[token(1, None)]), sum(&[other]));
        }
        assert_ne!(ada, sum(&[]));
    }
}
