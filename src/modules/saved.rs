//! RFC 6120, section 8.3.3: which error the store's answer to a change is. One table for all that an
//! account keeps, contacts, blocked addresses, private storage and the vCard.

use crate::modules::Answer;
use crate::proto::stanza::error::StanzaCondition;
use crate::store::StoreError;
use crate::store::data::DataResponse;

/// A condition, and a sentence for the person behind the request.
pub type Why = (StanzaCondition, &'static str);

/// Why a change was refused; `full` where there was no room for it. None where it is on the disk.
pub fn refused(result: &Result<DataResponse, StoreError>, full: Why) -> Option<Why> {
    Some(match result {
        Ok(DataResponse::Done) => return None,
        Ok(DataResponse::NoRoom) => full,
        Ok(DataResponse::NoSuchAccount) => (StanzaCondition::NotAllowed, ""),
        Err(StoreError::Locked) => (StanzaCondition::ResourceConstraint, ""),
        Ok(DataResponse::Blocked | DataResponse::Things(_) | DataResponse::Value(_)) | Err(_) => {
            (StanzaCondition::InternalServerError, "")
        }
    })
}

/// The answer to a change that nothing else follows from.
pub fn answer(result: &Result<DataResponse, StoreError>, full: Why) -> Answer {
    match refused(result, full) {
        None => Answer::Result(Vec::new()),
        Some((condition, text)) => Answer::Error(condition, text),
    }
}
