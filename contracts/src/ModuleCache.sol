// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {RegistryClient} from "./RegistryClient.sol";
import {ModuleCacheExpired, ModuleMissing} from "./Errors.sol";

/// @title Module addresses read once from the Registry and trusted for a while.
/// @notice Until the first `refreshModuleCache` after wiring, and again once the time to live is over, every use reverts
/// with `ModuleCacheExpired`: a push is refused rather than sent to a module that may have been replaced.
abstract contract ModuleCache is RegistryClient {
    uint64 private constant DEFAULT_TTL_SECONDS = 90 days;

    uint64 public moduleCacheRefreshedAt;
    uint64 public moduleCacheTtl = DEFAULT_TTL_SECONDS;
    mapping(bytes32 key => address module) private _cached;

    function refreshModuleCache() external onlyAdmin {
        _refreshModuleCache();
    }

    /// @param ttlSeconds zero means expired at once, whatever is refreshed.
    function setModuleCacheTtl(uint64 ttlSeconds) external onlyAdmin {
        moduleCacheTtl = ttlSeconds;
    }

    function isModuleCacheExpired() public view returns (bool) {
        return moduleCacheRefreshedAt == 0
            || block.timestamp >= uint256(moduleCacheRefreshedAt) + uint256(moduleCacheTtl);
    }

    /// @dev The keys that this contract uses.
    function _moduleKeys() internal pure virtual returns (bytes32[] memory keys);

    function _refreshModuleCache() internal {
        bytes32[] memory keys = _moduleKeys();
        for (uint256 i = 0; i < keys.length; ++i) {
            _cached[keys[i]] = registry.getModule(keys[i]);
        }
        moduleCacheRefreshedAt = uint64(block.timestamp);
    }

    /// @dev The cached address; zero when the registry had none at the last refresh.
    function _cachedModule(bytes32 key) internal view returns (address) {
        if (isModuleCacheExpired()) revert ModuleCacheExpired();
        return _cached[key];
    }

    function _requireCachedModule(bytes32 key) internal view returns (address module) {
        module = _cachedModule(key);
        if (module == address(0)) revert ModuleMissing(key);
    }
}
