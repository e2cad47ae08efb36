// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {ModuleKeys} from "../../../ModuleKeys.sol";
import {RegistryClient} from "../../../RegistryClient.sol";
import {IHealthView, IRegistry} from "../../../Interfaces.sol";

/// @title Checks whether a module is fit for use, and counts how often in a row it was not.
contract ModuleHealthView is RegistryClient {
    struct Status {
        bool isHealthy;
        uint32 failures;
    }

    mapping(address module => Status) private _statuses;

    event ModuleHealthChecked(address indexed module, bool isHealthy, uint32 failures);

    constructor(IRegistry registry_) RegistryClient(registry_) {}

    /// @notice A module is healthy when it has code, belongs to this registry and is not paused. The health view gets the
    /// result with the hash of the finding.
    function checkModule(address module) external onlyAdmin returns (bool isHealthy) {
        string memory finding = _inspect(module);
        isHealthy = bytes(finding).length == 0;
        uint32 failures = isHealthy ? 0 : _statuses[module].failures + 1;
        _statuses[module] = Status(isHealthy, failures);
        emit ModuleHealthChecked(module, isHealthy, failures);
        IHealthView(_requireModule(ModuleKeys.HEALTH_VIEW)).cacheModuleHealth(
            module, isHealthy, isHealthy ? bytes32(0) : keccak256(bytes(finding)), failures
        );
    }

    /// @notice What the last `ModuleHealthChecked` of the module said.
    function getModuleStatus(address module) external view returns (bool isHealthy, uint32 failures) {
        Status storage status = _statuses[module];
        return (status.isHealthy, status.failures);
    }

    /// @return finding empty when there is none.
    function _inspect(address module) private view returns (string memory finding) {
        if (module.code.length == 0) return "no code";
        (bool ok, uint256 word) = _ask(module, abi.encodeWithSignature("registry()"));
        if (!ok || word != uint160(address(registry))) return "other registry";
        (ok, word) = _ask(module, abi.encodeWithSignature("paused()"));
        if (ok && word != 0) return "paused";
        return "";
    }

    /// @dev Whether the module answers, and the first word of it.
    function _ask(address module, bytes memory question) private view returns (bool ok, uint256 word) {
        bytes memory answer;
        (ok, answer) = module.staticcall(question);
        ok = ok && answer.length == 32;
        if (ok) word = abi.decode(answer, (uint256));
    }
}
