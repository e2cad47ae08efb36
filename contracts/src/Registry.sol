// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IRegistry} from "./Interfaces.sol";
import {NotOwner, ZeroAddress} from "./Errors.sol";

/// @title Where modules find each other, and who administers them.
contract Registry is IRegistry {
    address public owner;
    mapping(bytes32 key => address module) private _modules;
    mapping(address account => bool granted) private _admins;

    event OwnershipTransferred(address indexed previousOwner, address indexed newOwner);
    event AdminSet(address indexed account, bool granted);
    event ModuleSet(bytes32 indexed key, address indexed previousModule, address indexed newModule);

    modifier onlyOwner() {
        if (msg.sender != owner) revert NotOwner(msg.sender);
        _;
    }

    constructor() {
        owner = msg.sender;
        emit OwnershipTransferred(address(0), msg.sender);
    }

    function transferOwnership(address newOwner) external onlyOwner {
        if (newOwner == address(0)) revert ZeroAddress();
        emit OwnershipTransferred(owner, newOwner);
        owner = newOwner;
    }

    /// @notice Lets a second account act as admin, so that the account that retries need not be the owner.
    function setAdmin(address account, bool granted) external onlyOwner {
        _admins[account] = granted;
        emit AdminSet(account, granted);
    }

    /// @notice Names a module; zero takes it out. Modules that cache addresses see it after `refreshModuleCache`.
    function setModule(bytes32 key, address module) external onlyOwner {
        emit ModuleSet(key, _modules[key], module);
        _modules[key] = module;
    }

    function isAdmin(address account) external view returns (bool) {
        return account == owner || _admins[account];
    }

    function getModule(bytes32 key) external view returns (address) {
        return _modules[key];
    }
}
