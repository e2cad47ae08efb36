// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {RegistryClient} from "../../../RegistryClient.sol";
import {IRegistry} from "../../../Interfaces.sol";
import {StaleVersion} from "../../../Errors.sol";

/// @title How often the system had to work with a fallback, and with what.
contract StatisticsView is RegistryClient {
    struct DegradationStats {
        uint256 totalDegradations;
        uint256 lastDegradationTime;
        address lastDegradedModule;
        uint64 version;
        bytes32 reasonHash;
        uint256 fallbackValueUsed;
        uint256 totalFallbackValue;
    }

    DegradationStats private _stats;

    event DegradationStatsCached(
        uint256 totalDegradations,
        uint256 lastDegradationTime,
        address indexed lastDegradedModule,
        bytes32 indexed reasonHash,
        uint256 fallbackValueUsed,
        uint256 totalFallbackValue,
        uint256 averageFallbackValue,
        uint256 timestamp
    );

    constructor(IRegistry registry_) RegistryClient(registry_) {}

    /// @notice Counts one more degradation.
    /// @param nextVersion must be the current version plus one; zero takes it (spec 1 §2.1).
    function pushDegradation(address module, bytes32 reasonHash, uint256 fallbackValueUsed, uint64 nextVersion)
        external
        onlyAdmin
    {
        DegradationStats storage stats = _stats;
        if (nextVersion != 0 && nextVersion != stats.version + 1) revert StaleVersion(stats.version, nextVersion);
        stats.version += 1;
        stats.totalDegradations += 1;
        stats.lastDegradationTime = block.timestamp;
        stats.lastDegradedModule = module;
        stats.reasonHash = reasonHash;
        stats.fallbackValueUsed = fallbackValueUsed;
        stats.totalFallbackValue += fallbackValueUsed;
        emit DegradationStatsCached(
            stats.totalDegradations,
            block.timestamp,
            module,
            reasonHash,
            fallbackValueUsed,
            stats.totalFallbackValue,
            stats.totalFallbackValue / stats.totalDegradations,
            block.timestamp
        );
    }

    /// @notice What the last `DegradationStatsCached` said; all zero before the first.
    function getDegradationStats()
        external
        view
        returns (
            uint256 totalDegradations,
            uint256 lastDegradationTime,
            address lastDegradedModule,
            bytes32 reasonHash,
            uint256 fallbackValueUsed,
            uint256 totalFallbackValue,
            uint256 averageFallbackValue,
            uint256 timestamp
        )
    {
        DegradationStats storage stats = _stats;
        totalDegradations = stats.totalDegradations;
        lastDegradationTime = stats.lastDegradationTime;
        lastDegradedModule = stats.lastDegradedModule;
        reasonHash = stats.reasonHash;
        fallbackValueUsed = stats.fallbackValueUsed;
        totalFallbackValue = stats.totalFallbackValue;
        averageFallbackValue = totalDegradations == 0 ? 0 : totalFallbackValue / totalDegradations;
        timestamp = stats.lastDegradationTime; // a degradation is cached in the block that it is told of
    }

    function getVersion() external view returns (uint64) {
        return _stats.version;
    }
}
