//! What everything that delivers works with.

use std::{collections::HashMap, sync::Arc};

use hookcast_core::{
    clock::Clock,
    event::Event,
    format::{Format, Formatter, Message},
    id::{EventId, SubscriptionId},
};
use hookcast_store::{
    Store,
    engine::{Claimed, Incarnation},
};

use crate::{budgets::Budgets, courier::Courier, directory::Directory, lease::Lease, scheduler::Work, target::Target};

/// The parts that a [dispatcher](crate::dispatcher) and a [pass](crate::pass) share.
pub struct Parts {
    /// Where deliveries come from.
    pub store: Arc<dyn Store>,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Who gets what.
    pub directory: Arc<Directory>,
    /// Under which name they are held.
    pub lease: Arc<Lease>,
    /// Who may be sent how much today.
    pub budgets: Budgets,
    /// Makes the attempts.
    pub courier: Courier,
    /// How events are written.
    pub formatter: Formatter,
}

impl Parts {
    /// How to reach a subscription to which an attempt may be made now at a delivery that has had so many: nothing holds it back, its
    /// account may have one more today, and the lease covers it.
    pub(crate) async fn may_attempt(
        &self,
        holder: Incarnation,
        subscription: SubscriptionId,
        attempts: u32,
    ) -> Option<Arc<Target>> {
        let target = self.directory.sendable(subscription)?;
        let taken = if attempts == 0 { Some(self.budgets.take(target.account).await?) } else { None };
        // What takes its time may outlast what was so before it.
        if self.lease.covers(holder, target.timeout).await
            && let Some(target) = self.directory.sendable(subscription)
        {
            return Some(target);
        }
        if let Some(taken) = taken {
            self.budgets.give_back(target.account, taken);
        }
        None
    }

    /// A claimed delivery, ready to be sent.
    #[must_use]
    pub fn work(&self, claimed: &Claimed, holder: Incarnation) -> Work {
        self.work_with(&mut Messages::new(&self.formatter), claimed, holder)
    }

    /// The same for many, which may be of one event.
    pub(crate) fn all_work(&self, claimed: &[Claimed], holder: Incarnation) -> Vec<Work> {
        let mut messages = Messages::new(&self.formatter);
        claimed.iter().map(|claimed| self.work_with(&mut messages, claimed, holder)).collect()
    }

    fn work_with(&self, messages: &mut Messages<'_>, claimed: &Claimed, holder: Incarnation) -> Work {
        let target = self.directory.target(claimed.subscription);
        let format = target.map_or(Format::default(), |target| target.format);
        Work {
            delivery: claimed.id,
            subscription: claimed.subscription,
            event: claimed.event.told_id(),
            attempts: claimed.attempts,
            group: claimed.group,
            message: messages.of(&claimed.event, format),
            holder,
            begun: None,
        }
    }
}

/// What subscriptions get of events: each event is written once in each format.
pub(crate) struct Messages<'f> {
    formatter: &'f Formatter,
    written: HashMap<(EventId, Format), Arc<Message>>,
}

impl<'f> Messages<'f> {
    pub(crate) fn new(formatter: &'f Formatter) -> Self {
        Self { formatter, written: HashMap::new() }
    }

    pub(crate) fn of(&mut self, event: &Event, format: Format) -> Arc<Message> {
        let written = self.written.entry((event.id, format));
        Arc::clone(written.or_insert_with(|| Arc::new(self.formatter.message(format, event))))
    }
}
