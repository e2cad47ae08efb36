//! The view events of spec 1 §5.4. A new one is one entry here.

use plimsoll_types::ViewKind::{AssetStats, Fee, Health, History, Permission, Position, Statistics, System};

use crate::declaration::{Declaration, Mode};

/// The view whose rows are `position_cache_mirror`.
pub const POSITION_VIEW: &str = "position";

/// Every declared view event.
pub const DECLARATIONS: &[Declaration] = &[
    // PositionView
    Declaration {
        event: "event UserPositionCachedV2(address indexed user, address indexed asset, uint256 collateral, uint256 debt, uint64 version, uint256 ts)",
        view: POSITION_VIEW,
        kind: Position,
        key: &["user", "asset"],
        mode: Mode::Position {
            getters: &[
                "function getUserPositionWithVersion(address user, address asset) view returns (uint256 collateral, uint256 debt, uint64 version)",
            ],
        },
    },
    Declaration {
        event: "event IdempotentRequestIgnored(address indexed user, address indexed asset, bytes32 indexed requestId, uint64 seq)",
        view: POSITION_VIEW,
        kind: Position,
        key: &["user", "asset"],
        mode: Mode::Replay,
    },
    Declaration {
        event: "event UserPositionCached(address indexed user, address indexed asset, uint256 collateral, uint256 debt, uint256 ts)",
        view: POSITION_VIEW,
        kind: Position,
        key: &["user", "asset"],
        mode: Mode::Ignored, // superseded by UserPositionCachedV2
    },
    // PositionView, LendingEngineCore, LiquidationDebtManager
    Declaration {
        event: "event CacheUpdateFailed(address indexed user, address indexed asset, address viewAddr, uint256 collateral, uint256 debt, bytes reason)",
        view: POSITION_VIEW,
        kind: Position,
        key: &["user", "asset"],
        mode: Mode::Failure { view: "viewAddr" },
    },
    // LendingEngineCore
    Declaration {
        event: "event HealthPushFailed(address indexed user, address indexed healthView, uint256 totalCollateral, uint256 totalDebt, bytes reason)",
        view: "health_factor",
        kind: Health,
        key: &["user"],
        mode: Mode::Failure { view: "healthView" },
    },
    // VaultRouter
    Declaration {
        event: "event UserPositionPushed(address indexed user, address indexed asset, uint256 collateral, uint256 debt, uint256 timestamp, bytes32 requestId, uint64 seq)",
        view: POSITION_VIEW,
        kind: Position,
        key: &["user", "asset"],
        mode: Mode::Push,
    },
    Declaration {
        event: "event UserPositionDeltaPushed(address indexed user, address indexed asset, int256 collateralDelta, int256 debtDelta, uint256 timestamp, bytes32 requestId, uint64 seq)",
        view: POSITION_VIEW,
        kind: Position,
        key: &["user", "asset"],
        mode: Mode::Push,
    },
    Declaration {
        event: "event UserPositionUpdated(address indexed user, address indexed asset, uint256 collateral, uint256 debt, uint256 timestamp)",
        view: POSITION_VIEW,
        kind: Position,
        key: &["user", "asset"],
        mode: Mode::Ignored, // legacy
    },
    Declaration {
        event: "event AssetStatsPushed(address indexed asset, uint256 totalCollateral, uint256 totalDebt, uint256 price, uint256 timestamp, bytes32 requestId, uint64 seq)",
        view: "asset_stats",
        kind: AssetStats,
        key: &["asset"],
        mode: Mode::Mirror {
            getters: &[
                "function getAssetStats(address asset) view returns (uint256 totalCollateral, uint256 totalDebt, uint256 price, uint256 timestamp)",
            ],
        },
    },
    // StatisticsView
    Declaration {
        event: "event DegradationStatsCached(uint256 totalDegradations, uint256 lastDegradationTime, address indexed lastDegradedModule, bytes32 indexed reasonHash, uint256 fallbackValueUsed, uint256 totalFallbackValue, uint256 averageFallbackValue, uint256 timestamp)",
        view: "degradation_stats",
        kind: Statistics,
        key: &[],
        mode: Mode::Mirror {
            getters: &[
                "function getDegradationStats() view returns (uint256 totalDegradations, uint256 lastDegradationTime, address lastDegradedModule, bytes32 reasonHash, uint256 fallbackValueUsed, uint256 totalFallbackValue, uint256 averageFallbackValue, uint256 timestamp)",
            ],
        },
    },
    // ViewCache
    Declaration {
        event: "event CacheUpdated(address indexed asset, address indexed updater, uint256 timestamp)",
        view: "system_snapshot",
        kind: System,
        key: &["asset"],
        mode: Mode::Mirror {
            getters: &[
                "function getCacheInfo(address asset) view returns (address updater, uint256 timestamp)",
            ],
        },
    },
    // AccessControlView
    Declaration {
        event: "event PermissionDataUpdated(address indexed user, bytes32 indexed actionKey, bool hasPermission, uint256 timestamp)",
        view: "permission",
        kind: Permission,
        key: &["user", "actionKey"],
        mode: Mode::Mirror {
            getters: &[
                "function getPermission(address user, bytes32 actionKey) view returns (bool hasPermission, uint256 timestamp)",
            ],
        },
    },
    Declaration {
        event: "event PermissionLevelUpdated(address indexed user, uint8 newLevel, uint256 timestamp)",
        view: "permission_level",
        kind: Permission,
        key: &["user"],
        mode: Mode::Mirror {
            getters: &[
                "function getPermissionLevel(address user) view returns (uint8 newLevel, uint256 timestamp)",
            ],
        },
    },
    // FeeRouterView
    Declaration {
        event: "event DataSynced(address indexed caller, uint256 timestamp)",
        view: "fee_data_synced",
        kind: Fee,
        key: &["caller"],
        mode: Mode::Trail,
    },
    Declaration {
        event: "event UserDataPushed(address indexed user, string dataType, uint256 timestamp)",
        view: "fee_user_data",
        kind: Fee,
        key: &["user"],
        mode: Mode::Trail,
    },
    Declaration {
        event: "event SystemDataPushed(address indexed pusher, string dataType, uint256 timestamp)",
        view: "fee_system_data",
        kind: Fee,
        key: &["pusher"],
        mode: Mode::Trail,
    },
    // ModuleHealthView
    Declaration {
        event: "event ModuleHealthChecked(address indexed module, bool isHealthy, uint32 failures)",
        view: "module_health_check",
        kind: Health,
        key: &["module"],
        mode: Mode::Mirror {
            getters: &[
                "function getModuleStatus(address module) view returns (bool isHealthy, uint32 failures)",
            ],
        },
    },
    // HealthView
    Declaration {
        event: "event HealthFactorCached(address indexed user, uint256 healthFactor, uint256 timestamp)",
        view: "health_factor",
        kind: Health,
        key: &["user"],
        mode: Mode::Mirror {
            getters: &[
                "function getUserHealthFactor(address user) view returns (uint256 healthFactor, uint256 timestamp)",
            ],
        },
    },
    Declaration {
        event: "event ModuleHealthCached(address indexed module, bool isHealthy, bytes32 detailsHash, uint32 failures, uint256 timestamp)",
        view: "module_health",
        kind: Health,
        key: &["module"],
        mode: Mode::Mirror {
            getters: &[
                "function getModuleHealth(address module) view returns (bool isHealthy, bytes32 detailsHash, uint32 failures, uint256 timestamp)",
            ],
        },
    },
    // EventHistoryManager
    Declaration {
        event: "event HistoryRecorded(bytes32 indexed eventType, address indexed user, address indexed asset, uint256 amount, bytes extraData, uint256 timestamp)",
        view: "history",
        kind: History,
        key: &["user", "asset"],
        mode: Mode::Trail,
    },
];
