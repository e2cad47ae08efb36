//! `plimsoll openapi`.

use super::print_json;
use crate::failure::Failure;

pub(crate) fn openapi() -> Result<(), Failure> {
    print_json(&plimsoll_api::openapi())
}
