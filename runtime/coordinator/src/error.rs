//! Why a group request is refused; each has one Kafka error code.

/// The refusals of the group protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum GroupError {
    #[error("the committed metadata is too long")]
    OffsetMetadataTooLarge,
    #[error("the coordinator is still loading its groups")]
    CoordinatorLoadInProgress,
    #[error("the coordinator is not available")]
    CoordinatorNotAvailable,
    #[error("the generation is not the group's current one")]
    IllegalGeneration,
    #[error("the member's protocols have nothing in common with the group's")]
    InconsistentGroupProtocol,
    #[error("the group id is not valid")]
    InvalidGroupId,
    #[error("the member is not known in this generation")]
    UnknownMemberId,
    #[error("the session timeout is outside of what the broker allows")]
    InvalidSessionTimeout,
    #[error("the group is rebalancing; rejoin is needed")]
    RebalanceInProgress,
    #[error("the request is not valid")]
    InvalidRequest,
    #[error("the group still has members")]
    NonEmptyGroup,
    #[error("the group does not exist")]
    GroupIdNotFound,
    #[error("the group needs a member id before it takes the member in")]
    MemberIdRequired,
    #[error("the group is full")]
    GroupMaxSizeReached,
    #[error("another member with this instance id has taken its place")]
    FencedInstanceId,
    #[error("the group is subscribed to the topic")]
    SubscribedToTopic,
    #[error("an offset of an open transaction is in the way; the request may be retried")]
    UnstableOffsetCommit,
    #[error("members of consumer groups must use a newer version of this request")]
    UnsupportedVersion,
    #[error("the member's epoch is not its current one; it must abandon its partitions and rejoin")]
    FencedMemberEpoch,
    #[error("the instance id is in use; its member must leave first")]
    UnreleasedInstanceId,
    #[error("the assignor is not supported")]
    UnsupportedAssignor,
    #[error("the member's epoch is not its current one")]
    StaleMemberEpoch,
    #[error("the regular expression is not valid")]
    InvalidRegularExpression,
}

impl GroupError {
    /// Kafka's error code.
    pub fn code(self) -> i16 {
        match self {
            GroupError::OffsetMetadataTooLarge => 12,
            GroupError::CoordinatorLoadInProgress => 14,
            GroupError::CoordinatorNotAvailable => 15,
            GroupError::IllegalGeneration => 22,
            GroupError::InconsistentGroupProtocol => 23,
            GroupError::InvalidGroupId => 24,
            GroupError::UnknownMemberId => 25,
            GroupError::InvalidSessionTimeout => 26,
            GroupError::RebalanceInProgress => 27,
            GroupError::UnsupportedVersion => 35,
            GroupError::InvalidRequest => 42,
            GroupError::NonEmptyGroup => 68,
            GroupError::GroupIdNotFound => 69,
            GroupError::MemberIdRequired => 79,
            GroupError::GroupMaxSizeReached => 81,
            GroupError::FencedInstanceId => 82,
            GroupError::SubscribedToTopic => 86,
            GroupError::UnstableOffsetCommit => 88,
            GroupError::FencedMemberEpoch => 110,
            GroupError::UnreleasedInstanceId => 111,
            GroupError::UnsupportedAssignor => 112,
            GroupError::StaleMemberEpoch => 113,
            GroupError::InvalidRegularExpression => 128,
        }
    }
}
