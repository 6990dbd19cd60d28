//! Which objects share a frame of a delta pack, and with which bases.
//!
//! Small files of one kind go together, their old versions being the base of all: what they have in common is said once.
//! A large object has a frame of its own, for the codec that suits it.

use std::cmp::Reverse;
use std::collections::HashSet;

use reclone_format::PackedObject;

use super::bases::MAX_BASE;
use super::tree_objects::TreeObject;
use crate::frame_plan::kind_of_name;

/// Larger objects have a frame of their own.
const ALONE: u64 = 1 << 20;
/// And what is compressed itself, if it is larger than this: such a frame has hundreds of bases.
const PACKED_ALONE: u64 = 32 << 10;
/// Bytes of content that a frame of several objects holds at most, and bytes of its bases.
const GROUP: u64 = 8 << 20;

/// Work on more than this takes some ten times as much memory.
const LARGE: u64 = 32 << 20;

/// Objects that share a frame.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Group {
    /// What the frame yields.
    pub objects: Vec<PackedObject>,
    /// What it is made from; none if it is whole.
    pub bases: Vec<PackedObject>,
    /// Whether it holds machine code, which patches suit.
    pub is_code: bool,
    /// Whether it is a single object that may be compressed itself.
    pub is_packed: bool,
}

/// A new object, its base if one was found, and what it is.
#[derive(Clone, Debug)]
pub struct Member<'a> {
    /// The object.
    pub new: &'a TreeObject,
    /// Its base.
    pub base: Option<PackedObject>,
    /// Whether it is machine code.
    pub is_code: bool,
    /// Whether it begins as something that is compressed.
    pub is_packed: bool,
}

impl Member<'_> {
    fn is_alone(&self) -> bool {
        let most = if self.is_packed { PACKED_ALONE } else { ALONE };
        self.new.object.size > most
    }
}

impl Group {
    /// Bytes of all of its objects.
    pub fn content(&self) -> u64 {
        self.objects.iter().map(|object| object.size).sum()
    }

    /// Bytes of all of its bases.
    pub fn base(&self) -> u64 {
        self.bases.iter().map(|base| base.size).sum()
    }

    /// A group of one.
    pub fn of(member: &Member) -> Self {
        Self {
            objects: vec![member.new.object],
            bases: member.base.into_iter().collect(),
            is_code: member.is_code,
            is_packed: member.is_alone() && member.is_packed,
        }
    }

    /// Whether one thread at a time should work on it.
    pub fn is_large(&self) -> bool {
        self.is_packed || self.content().max(self.base()) > LARGE
    }

    /// Whether its contents are too large to be worked on as a whole.
    pub fn is_huge(&self) -> bool {
        self.content() > MAX_BASE
    }
}

/// The groups of all members, the longest work first. The same members give the same groups.
pub fn groups(members: &[Member]) -> Vec<Group> {
    let (alone, mut small): (Vec<_>, Vec<_>) = members.iter().partition(|member| member.is_alone());
    let mut groups: Vec<Group> = alone.into_iter().map(Group::of).collect();
    small.sort_by_cached_key(|member| {
        let kind = kind_of_name(member.new.path.name());
        (class(member), kind, member.new.path.clone())
    });
    let mut last = None;
    for member in small {
        let (size, base) = (member.new.object.size, member.base);
        let base_size = base.map_or(0, |base| base.size);
        if let Some(group) = groups.last_mut()
            && last == Some(class(member))
            && group.content() + size <= GROUP
            && group.base() + base_size <= GROUP
        {
            group.objects.push(member.new.object);
            group.bases.extend(base);
        } else {
            groups.push(Group::of(member));
            last = Some(class(member));
        }
    }
    for group in &mut groups {
        let mut seen = HashSet::new();
        group.bases.retain(|base| seen.insert(base.id));
    }
    groups.sort_by_key(|group| Reverse((group.is_large(), group.content() + group.base())));
    groups
}

/// Only members of one class share a frame.
fn class(member: &Member) -> (bool, bool) {
    (member.base.is_none(), member.is_code)
}
