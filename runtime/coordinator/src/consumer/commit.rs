//! Who may commit to a consumer group, and read its offsets.

use crate::consumer::group::ConsumerGroup;
use crate::error::GroupError;
use crate::offsets::Committer;

impl ConsumerGroup {
    pub(crate) fn check_commit(&self, by: &Committer<'_>) -> Result<(), GroupError> {
        // Nobody uses it as a group, so it is only a name for offsets.
        if by.generation < 0 && self.members.is_empty() {
            return Ok(());
        }
        let member = self.members.get(by.member);
        match member {
            Some(member) if !member.is_classic() && !by.knows_epochs => {
                Err(GroupError::UnsupportedVersion)
            }
            _ => self.check_member_epoch(by.member, by.generation),
        }
    }

    /// A caller that names no member may read; a member must be in its current epoch, or what it reads may be another's
    /// by now.
    pub(crate) fn check_fetch(&self, member: Option<&str>, epoch: i32) -> Result<(), GroupError> {
        match member {
            None if epoch < 0 => Ok(()),
            member => self.check_member_epoch(member.unwrap_or_default(), epoch),
        }
    }

    fn check_member_epoch(&self, id: &str, epoch: i32) -> Result<(), GroupError> {
        match self.members.get(id) {
            None => Err(GroupError::UnknownMemberId),
            Some(member) if member.epoch == epoch => Ok(()),
            Some(member) if member.is_classic() => Err(GroupError::IllegalGeneration),
            Some(_) => Err(GroupError::StaleMemberEpoch),
        }
    }
}
