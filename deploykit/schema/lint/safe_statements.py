"""Statements that change no table in use, by the grammar's names. Any other unknown one is opaque, never safe."""

from __future__ import annotations

__all__ = ["SAFE_STATEMENTS"]

SAFE_STATEMENTS = frozenset({
    "AlterCollationStmt", "AlterDatabaseSetStmt", "AlterDatabaseStmt", "AlterDefaultPrivilegesStmt",
    "AlterEventTrigStmt", "AlterExtensionContentsStmt", "AlterExtensionStmt", "AlterFdwStmt", "AlterForeignServerStmt",
    "AlterFunctionStmt", "AlterObjectDependsStmt", "AlterOpFamilyStmt", "AlterOperatorStmt", "AlterOwnerStmt",
    "AlterPublicationStmt", "AlterRoleSetStmt", "AlterRoleStmt", "AlterSeqStmt", "AlterStatsStmt",
    "AlterTSConfigurationStmt", "AlterTSDictionaryStmt", "AlterTypeStmt", "AlterUserMappingStmt", "CheckPointStmt",
    "ConstraintsSetStmt", "CopyStmt", "CreateCastStmt", "CreateConversionStmt", "CreateEventTrigStmt", "CreateFdwStmt",
    "CreateForeignServerStmt", "CreateForeignTableStmt", "CreateOpClassStmt", "CreateOpFamilyStmt", "CreatePLangStmt",
    "CreatePublicationStmt", "CreateRangeStmt", "CreateRoleStmt", "CreateStatsStmt", "CreateTableSpaceStmt",
    "CreateTransformStmt", "CreateUserMappingStmt", "CreatedbStmt", "DeallocateStmt", "DefineStmt", "DiscardStmt",
    "GrantRoleStmt", "GrantStmt", "ImportForeignSchemaStmt", "ListenStmt", "NotifyStmt", "PrepareStmt",
    "ReassignOwnedStmt", "SecLabelStmt", "UnlistenStmt", "VariableShowStmt",
})  # fmt: skip
