//! What must hold after each verb, by how it ended.

use super::run::End;
use super::{Record, World};

/// What is done with the pool.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verb {
    Sync,
    Fetch,
    Rollback,
    Prune,
    Repair,
    Reset { forget: bool },
}

impl World {
    /// Whether a clone with this generation has the store's newest tree.
    fn is_newest(&self, current: Option<u64>) -> bool {
        let trees = current.map(|number| &self.generations[&number]);
        trees == Some(&self.generations[&self.newest])
    }

    /// Whether nothing is wrong that would keep a sync from its end.
    pub fn can_sync(&self) -> bool {
        self.faults.store_is_well() && !self.faults.full && !self.faults.record
    }

    /// Whether a verb may end with an error.
    fn may_fail(&self, verb: Verb) -> bool {
        let (faults, record) = (&self.faults, self.record);
        if faults.record || faults.full {
            return true;
        }
        match verb {
            Verb::Sync | Verb::Fetch => !faults.store_is_well(),
            Verb::Rollback => record.previous.is_none(),
            Verb::Prune => faults.pool,
            // The store gives the objects of its newest generation.
            Verb::Repair => {
                record.current.is_none()
                    || faults.pool && !(faults.store_is_well() && self.is_newest(record.current))
            }
            Verb::Reset { .. } => {
                let goes_back = record.refused.is_some() || !self.is_newest(record.current);
                !faults.store_is_well()
                    || faults.pool && goes_back && record.refused == Some(self.newest)
            }
        }
    }

    /// Fails unless the clone's record is what this verb may have made of it.
    pub fn expect(&self, verb: Verb, end: &End, before: Record, after: Record) {
        let told = || format!("{verb:?}: {before:?} became {after:?}: {end:?}");
        let stays = after.current == before.current;
        if let End::Failed(said) = end {
            assert!(self.may_fail(verb), "{}\n{said}", told());
        }
        match (verb, end) {
            (Verb::Sync | Verb::Reset { .. }, End::Done(_)) => {
                assert!(self.is_current(before, after), "{}", told());
            }
            (Verb::Sync | Verb::Reset { .. }, _) => {
                assert!(stays || self.is_newest(after.current), "{}", told());
            }
            (Verb::Rollback, End::Done(_)) => {
                let expected = (before.previous, before.current);
                assert_eq!((after.current, after.previous), expected, "{}", told());
            }
            (Verb::Rollback, End::Killed) => {
                assert!(stays || after.current == before.previous, "{}", told());
            }
            (Verb::Rollback, End::Failed(_)) => assert_eq!(after, before, "{}", told()),
            (Verb::Prune, _) => assert_eq!(after, before, "{}", told()),
            (Verb::Fetch, _) => {
                // A head that says the same under a higher serial is accepted, too.
                let serial = after.serial.max(before.serial);
                let expected = Record { serial, ..before };
                assert_eq!(after, expected, "{}", told());
            }
            (Verb::Repair, _) => {
                let forgot = after.previous.is_none() && self.faults.pool;
                assert!(stays, "{}", told());
                assert!(after.previous == before.previous || forgot, "{}", told());
            }
        }
    }

    /// Whether this is what a sync leaves that came to its end: the newest tree, unless it was rolled back here.
    pub fn is_current(&self, before: Record, after: Record) -> bool {
        let stayed = after.current == before.current && after.refused == before.refused;
        self.is_newest(after.current) || stayed && after.refused == Some(self.newest)
    }
}
