// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {RegistryClient} from "../../../RegistryClient.sol";
import {IRegistry} from "../../../Interfaces.sol";

/// @title The cached permissions of users.
contract AccessControlView is RegistryClient {
    struct Permission {
        bool hasPermission;
        uint64 timestamp;
    }

    struct Level {
        uint8 level;
        uint64 timestamp;
    }

    mapping(address user => mapping(bytes32 actionKey => Permission)) private _permissions;
    mapping(address user => Level) private _levels;

    event PermissionDataUpdated(
        address indexed user, bytes32 indexed actionKey, bool hasPermission, uint256 timestamp
    );
    event PermissionLevelUpdated(address indexed user, uint8 newLevel, uint256 timestamp);

    constructor(IRegistry registry_) RegistryClient(registry_) {}

    function pushPermission(address user, bytes32 actionKey, bool hasPermission) external onlyAdmin {
        _permissions[user][actionKey] = Permission(hasPermission, uint64(block.timestamp));
        emit PermissionDataUpdated(user, actionKey, hasPermission, block.timestamp);
    }

    function pushPermissionLevel(address user, uint8 newLevel) external onlyAdmin {
        _levels[user] = Level(newLevel, uint64(block.timestamp));
        emit PermissionLevelUpdated(user, newLevel, block.timestamp);
    }

    function getPermission(address user, bytes32 actionKey)
        external
        view
        returns (bool hasPermission, uint256 timestamp)
    {
        Permission storage permission = _permissions[user][actionKey];
        return (permission.hasPermission, permission.timestamp);
    }

    function getPermissionLevel(address user) external view returns (uint8 newLevel, uint256 timestamp) {
        Level storage level = _levels[user];
        return (level.level, level.timestamp);
    }
}
