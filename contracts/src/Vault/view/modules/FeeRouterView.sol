// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {RegistryClient} from "../../../RegistryClient.sol";
import {IRegistry} from "../../../Interfaces.sol";

/// @title The trail of fee data being synchronised. It keeps nothing.
contract FeeRouterView is RegistryClient {
    event DataSynced(address indexed caller, uint256 timestamp);
    /// @dev Deprecated with `SystemDataPushed`; still emitted for those who follow them.
    event UserDataPushed(address indexed user, string dataType, uint256 timestamp);
    event SystemDataPushed(address indexed pusher, string dataType, uint256 timestamp);

    constructor(IRegistry registry_) RegistryClient(registry_) {}

    function syncData() external onlyAdmin {
        emit DataSynced(msg.sender, block.timestamp);
    }

    function pushUserData(address user, string calldata dataType) external onlyAdmin {
        emit UserDataPushed(user, dataType, block.timestamp);
    }

    function pushSystemData(string calldata dataType) external onlyAdmin {
        emit SystemDataPushed(msg.sender, dataType, block.timestamp);
    }
}
