// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {GasReserve} from "../../../GasReserve.sol";
import {ModuleCache} from "../../../ModuleCache.sol";
import {ModuleKeys} from "../../../ModuleKeys.sol";
import {RegistryClient} from "../../../RegistryClient.sol";
import {ICollateralManager, ILendingEngine, IPositionView, IRegistry} from "../../../Interfaces.sol";
import {InvalidDelta, NotModule, OutOfOrderSeq, Paused, StaleVersion} from "../../../Errors.sol";

/// @title The cached position of each (user, asset), written by the router and healed from the ledger.
/// @notice A push is judged in this order: paused, caller, same request again (ignored), seq, delta, version. A write always
/// raises the version by exactly one and says so in `UserPositionCachedV2`.
contract PositionView is ModuleCache, IPositionView {
    uint256 private constant REFRESH_GAS = 110_000;
    uint256 private constant READ_GAS = 80_000;

    struct Position {
        uint256 collateral;
        uint256 debt;
        uint64 version;
        uint64 lastSeq;
        uint64 updatedAt;
        bytes32 lastAppliedRequestId;
    }

    bool public paused;
    mapping(address user => mapping(address asset => Position)) internal _positions;

    event UserPositionCached(
        address indexed user, address indexed asset, uint256 collateral, uint256 debt, uint256 ts
    );
    event UserPositionCachedV2(
        address indexed user, address indexed asset, uint256 collateral, uint256 debt, uint64 version, uint256 ts
    );
    event IdempotentRequestIgnored(
        address indexed user, address indexed asset, bytes32 indexed requestId, uint64 seq
    );
    event CacheUpdateFailed(
        address indexed user, address indexed asset, address viewAddr, uint256 collateral, uint256 debt, bytes reason
    );

    modifier onlyRouter() {
        if (paused) revert Paused();
        if (msg.sender != _requireCachedModule(ModuleKeys.VAULT_ROUTER)) revert NotModule(msg.sender);
        _;
    }

    constructor(IRegistry registry_) RegistryClient(registry_) {}

    /// @param requestId the same as the last one applied here is ignored; zero is never the same.
    /// @param seq must exceed the last one applied here; zero is not checked.
    /// @param nextVersion must be the current version plus one; zero takes it.
    function pushUserPosition(
        address user,
        address asset,
        uint256 collateral,
        uint256 debt,
        bytes32 requestId,
        uint64 seq,
        uint64 nextVersion
    ) external onlyRouter {
        Position storage position = _positions[user][asset];
        if (_ignoresOrAdmits(position, user, asset, requestId, seq)) return;
        _admitVersion(position, nextVersion);
        _remember(position, requestId, seq);
        _write(position, user, asset, collateral, debt);
    }

    /// @notice As `pushUserPosition`, relative to what is cached: a delta applied over a push that was lost stays wrong
    /// until the next absolute push or retry.
    function pushUserPositionDelta(
        address user,
        address asset,
        int256 collateralDelta,
        int256 debtDelta,
        bytes32 requestId,
        uint64 seq,
        uint64 nextVersion
    ) external onlyRouter {
        Position storage position = _positions[user][asset];
        if (_ignoresOrAdmits(position, user, asset, requestId, seq)) return;
        uint256 collateral = _plus(position.collateral, collateralDelta);
        uint256 debt = _plus(position.debt, debtDelta);
        _admitVersion(position, nextVersion);
        _remember(position, requestId, seq);
        _write(position, user, asset, collateral, debt);
    }

    /// @notice Reads the ledger again and caches what it says. Failing again emits `CacheUpdateFailed` and returns, so that
    /// the attempt is on record.
    function retryUserPositionUpdate(address user, address asset) external onlyAdmin {
        GasReserve.demand(REFRESH_GAS + READ_GAS);
        _refreshModuleCache();
        // Through an external call, so that whatever goes wrong in it (a module missing, without code, answering nonsense)
        // comes back as a reason.
        try this.readLedger{gas: READ_GAS}(user, asset) returns (uint256 collateral, uint256 debt) {
            if (paused) {
                bytes memory reason = abi.encodeWithSelector(Paused.selector);
                emit CacheUpdateFailed(user, asset, address(this), collateral, debt, reason);
                return;
            }
            _write(_positions[user][asset], user, asset, collateral, debt);
        } catch (bytes memory reason) {
            emit CacheUpdateFailed(user, asset, address(this), 0, 0, reason);
        }
    }

    function setPaused(bool paused_) external onlyAdmin {
        paused = paused_;
    }

    /// @notice What the ledger modules say now, past the cache.
    function readLedger(address user, address asset) external view returns (uint256 collateral, uint256 debt) {
        collateral = ICollateralManager(_requireCachedModule(ModuleKeys.COLLATERAL_MANAGER)).getCollateral(user, asset);
        debt = ILendingEngine(_requireCachedModule(ModuleKeys.LENDING_ENGINE)).getDebt(user, asset);
    }

    function getUserPosition(address user, address asset) external view returns (uint256 collateral, uint256 debt) {
        Position storage position = _positions[user][asset];
        return (position.collateral, position.debt);
    }

    function getUserPositionWithVersion(address user, address asset)
        external
        view
        returns (uint256 collateral, uint256 debt, uint64 version)
    {
        Position storage position = _positions[user][asset];
        return (position.collateral, position.debt, position.version);
    }

    function getUserPositionTrace(address user, address asset)
        external
        view
        returns (bytes32 lastAppliedRequestId, uint64 lastSeq, uint64 updatedAt)
    {
        Position storage position = _positions[user][asset];
        return (position.lastAppliedRequestId, position.lastSeq, position.updatedAt);
    }

    function _moduleKeys() internal pure override returns (bytes32[] memory keys) {
        keys = new bytes32[](3);
        keys[0] = ModuleKeys.VAULT_ROUTER;
        keys[1] = ModuleKeys.COLLATERAL_MANAGER;
        keys[2] = ModuleKeys.LENDING_ENGINE;
    }

    /// @dev True when the request was applied already. Before the seq, because a replay carries its old seq.
    function _ignoresOrAdmits(Position storage position, address user, address asset, bytes32 requestId, uint64 seq)
        private
        returns (bool ignored)
    {
        if (requestId != bytes32(0) && requestId == position.lastAppliedRequestId) {
            emit IdempotentRequestIgnored(user, asset, requestId, seq);
            return true;
        }
        if (seq != 0 && seq <= position.lastSeq) revert OutOfOrderSeq(position.lastSeq, seq);
    }

    function _admitVersion(Position storage position, uint64 nextVersion) private view {
        if (nextVersion != 0 && nextVersion != position.version + 1) {
            revert StaleVersion(position.version, nextVersion);
        }
    }

    /// @dev A push without a request or seq leaves the last ones: they say what was applied last *of those that had one*.
    function _remember(Position storage position, bytes32 requestId, uint64 seq) private {
        if (requestId != bytes32(0)) position.lastAppliedRequestId = requestId;
        if (seq != 0) position.lastSeq = seq;
    }

    function _write(Position storage position, address user, address asset, uint256 collateral, uint256 debt) private {
        uint64 version = position.version + 1;
        position.collateral = collateral;
        position.debt = debt;
        position.version = version;
        position.updatedAt = uint64(block.timestamp);
        emit UserPositionCachedV2(user, asset, collateral, debt, version, block.timestamp);
        emit UserPositionCached(user, asset, collateral, debt, block.timestamp);
    }

    function _plus(uint256 amount, int256 delta) private pure returns (uint256) {
        if (delta >= 0) {
            uint256 grown;
            unchecked {
                grown = amount + uint256(delta);
            }
            if (grown < amount) revert InvalidDelta();
            return grown;
        }
        uint256 taken;
        unchecked {
            taken = uint256(-delta); // of the lowest int256 too: its negation wraps to the same bits, 2^255 unsigned
        }
        if (taken > amount) revert InvalidDelta();
        return amount - taken;
    }
}
