// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {InsufficientGasForPush} from "./Errors.sol";

/// @notice Demands the gas of the calls whose failures are caught, before the first of them is made.
/// @dev Demanded up front and for the worst case, so that what a call happens to use does not decide whether the next has enough.
/// Otherwise a short gas limit makes the call fail for want of gas while the rest goes through, and a node's estimate,
/// which looks for the least limit that does not revert, settles on exactly that.
library GasReserve {
    /// @dev For what surrounds the calls: a failure event with its reason, the way back.
    uint256 private constant REPORT_GAS = 40_000;

    /// @param forCalls the gas that the calls are to be given together; a call gets at most 63/64 of what is left (EIP-150).
    function demand(uint256 forCalls) internal view {
        uint256 needed = forCalls + forCalls / 63 + REPORT_GAS;
        if (gasleft() < needed) revert InsufficientGasForPush(gasleft(), needed);
    }
}
