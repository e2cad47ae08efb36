// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {GasReserve} from "../../../GasReserve.sol";
import {ModuleKeys} from "../../../ModuleKeys.sol";
import {RegistryClient} from "../../../RegistryClient.sol";
import {HealthMath} from "../../HealthMath.sol";
import {IHealthView, ILendingEngine, IRegistry} from "../../../Interfaces.sol";
import {Paused} from "../../../Errors.sol";

/// @title The cached health of users and of modules.
contract HealthView is RegistryClient, IHealthView {
    /// @dev A user's totals over as many assets as the engine lists.
    uint256 private constant READ_GAS = 200_000;

    struct UserHealth {
        uint256 healthFactor;
        uint256 timestamp;
    }

    struct ModuleHealth {
        bytes32 detailsHash;
        uint256 timestamp;
        uint32 failures;
        bool isHealthy;
    }

    bool public paused;
    mapping(address user => UserHealth) private _users;
    mapping(address module => ModuleHealth) private _modules;

    event HealthFactorCached(address indexed user, uint256 healthFactor, uint256 timestamp);
    event ModuleHealthCached(
        address indexed module, bool isHealthy, bytes32 detailsHash, uint32 failures, uint256 timestamp
    );
    /// @dev The same event as the lending engine's, for a retry that fails again.
    event HealthPushFailed(
        address indexed user, address indexed healthView, uint256 totalCollateral, uint256 totalDebt, bytes reason
    );

    constructor(IRegistry registry_) RegistryClient(registry_) {}

    function pushUserHealth(address user, uint256 totalCollateral, uint256 totalDebt)
        external
        onlyModule(ModuleKeys.LENDING_ENGINE)
    {
        if (paused) revert Paused();
        _cache(user, totalCollateral, totalDebt);
    }

    /// @notice Reads the ledger again and caches what it says. Failing again emits `HealthPushFailed` and returns.
    function retryUserHealthUpdate(address user) external onlyAdmin {
        // Through an external call, so that whatever goes wrong in it comes back as a reason.
        GasReserve.demand(READ_GAS);
        try this.readTotals{gas: READ_GAS}(user) returns (uint256 totalCollateral, uint256 totalDebt) {
            if (paused) {
                bytes memory reason = abi.encodeWithSelector(Paused.selector);
                emit HealthPushFailed(user, address(this), totalCollateral, totalDebt, reason);
                return;
            }
            _cache(user, totalCollateral, totalDebt);
        } catch (bytes memory reason) {
            emit HealthPushFailed(user, address(this), 0, 0, reason);
        }
    }

    function cacheModuleHealth(address module, bool isHealthy, bytes32 detailsHash, uint32 failures)
        external
        onlyModuleOrAdmin(ModuleKeys.MODULE_HEALTH_VIEW)
    {
        if (paused) revert Paused();
        _modules[module] = ModuleHealth(detailsHash, block.timestamp, failures, isHealthy);
        emit ModuleHealthCached(module, isHealthy, detailsHash, failures, block.timestamp);
    }

    function setPaused(bool paused_) external onlyAdmin {
        paused = paused_;
    }

    /// @notice What the ledger modules say now, past the cache.
    function readTotals(address user) external view returns (uint256 totalCollateral, uint256 totalDebt) {
        return ILendingEngine(_requireModule(ModuleKeys.LENDING_ENGINE)).getUserTotals(user);
    }

    function getUserHealthFactor(address user) external view returns (uint256 healthFactor, uint256 timestamp) {
        UserHealth storage health = _users[user];
        return (health.healthFactor, health.timestamp);
    }

    function getModuleHealth(address module)
        external
        view
        returns (bool isHealthy, bytes32 detailsHash, uint32 failures, uint256 timestamp)
    {
        ModuleHealth storage health = _modules[module];
        return (health.isHealthy, health.detailsHash, health.failures, health.timestamp);
    }

    function _cache(address user, uint256 totalCollateral, uint256 totalDebt) private {
        uint256 factor = HealthMath.healthFactor(totalCollateral, totalDebt);
        _users[user] = UserHealth(factor, block.timestamp);
        emit HealthFactorCached(user, factor, block.timestamp);
    }
}
