// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IRegistry} from "./Interfaces.sol";
import {ModuleMissing, NotAdmin, NotModule, ZeroAddress} from "./Errors.sol";

/// @title What every module shares: its registry, and who may call it.
abstract contract RegistryClient {
    IRegistry public immutable registry;

    modifier onlyAdmin() {
        if (!registry.isAdmin(msg.sender)) revert NotAdmin(msg.sender);
        _;
    }

    modifier onlyModule(bytes32 key) {
        if (msg.sender != registry.getModule(key)) revert NotModule(msg.sender);
        _;
    }

    modifier onlyModuleOrAdmin(bytes32 key) {
        if (msg.sender != registry.getModule(key) && !registry.isAdmin(msg.sender)) revert NotModule(msg.sender);
        _;
    }

    constructor(IRegistry registry_) {
        if (address(registry_) == address(0)) revert ZeroAddress();
        registry = registry_;
    }

    /// @dev A module that this one cannot work without.
    function _requireModule(bytes32 key) internal view returns (address module) {
        module = registry.getModule(key);
        if (module == address(0)) revert ModuleMissing(key);
    }
}
