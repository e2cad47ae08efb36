// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {RegistryClient} from "../../../RegistryClient.sol";
import {IRegistry} from "../../../Interfaces.sol";

/// @title One event for whatever is worth remembering. It keeps nothing.
contract EventHistoryManager is RegistryClient {
    event HistoryRecorded(
        bytes32 indexed eventType,
        address indexed user,
        address indexed asset,
        uint256 amount,
        bytes extraData,
        uint256 timestamp
    );

    constructor(IRegistry registry_) RegistryClient(registry_) {}

    function recordEvent(bytes32 eventType, address user, address asset, uint256 amount, bytes calldata extraData)
        external
        onlyAdmin
    {
        emit HistoryRecorded(eventType, user, asset, amount, extraData, block.timestamp);
    }
}
