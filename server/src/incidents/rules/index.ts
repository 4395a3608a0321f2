import type { IncidentKind } from '../../contract/incidents.ts';
import type { IncidentRule } from '../rule.ts';
import { acceptedNotVfio } from './accepted-not-vfio.ts';
import { barMappedByAddress } from './bar-mapped-by-address.ts';
import { bornRevoked } from './born-revoked.ts';
import { confidentialShared } from './confidential-shared.ts';
import { faultRejected } from './fault-rejected.ts';
import { foreignVm } from './foreign-vm.ts';
import { lateRelease } from './late-release.ts';
import { mappingsLost } from './mappings-lost.ts';
import { neverImported } from './never-imported.ts';
import { orphaned } from './orphaned.ts';
import { privateOffered } from './private-offered.ts';
import { privateWithoutVm } from './private-without-vm.ts';
import { revokeWaiting } from './revoke-waiting.ts';

/**
 * The rule of each kind. The compiler reports a kind without a rule, and a rule without a kind. If one line opens
 * several incidents, they open in this order.
 */
export const INCIDENT_RULES: Readonly<Record<IncidentKind, IncidentRule>> = {
  revoke_waiting: revokeWaiting,
  mappings_lost: mappingsLost,
  born_revoked: bornRevoked,
  never_imported: neverImported,
  bar_mapped_by_address: barMappedByAddress,
  orphaned,
  late_release: lateRelease,
  private_without_vm: privateWithoutVm,
  private_offered: privateOffered,
  foreign_vm: foreignVm,
  accepted_not_vfio: acceptedNotVfio,
  confidential_shared: confidentialShared,
  fault_rejected: faultRejected,
};
