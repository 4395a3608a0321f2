import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { identifyCgroup } from '../../src/host/cgroup.ts';
import { identifyVm } from '../../src/host/vmm.ts';

const UUID = '8E9C7A04-0C9B-4B3B-9C9E-0123456789ab';
const LOWER = UUID.toLowerCase();
const ID = '41cb92475d2d2b8b93befe133d6df302c08482e3f4bd1eae219b46e580b673e9';
const OUTER = '9'.repeat(64);
const POD = '0f1e2d3c-4b5a-6978-8796-a5b4c3d2e1f0';

test('name and UUID of a VM are read from the command line of its VMM', () => {
  const cases: [string[], ReturnType<typeof identifyVm>][] = [
    [
      ['/usr/bin/qemu-system-x86_64', '-name', 'guest=web,,1,debug-threads=on', '-uuid', UUID],
      { vmm: 'qemu', name: 'web,1', uuid: LOWER },
    ],
    [['qemu-kvm', '-name', 'plain'], { vmm: 'qemu', name: 'plain', uuid: null }],
    [['kvm', '--name', 'process=x,guest=db', '-uuid', 'not-one'], { vmm: 'qemu', name: 'db', uuid: null }],
    [['qemu-system-aarch64', '-name', 'debug-threads=on'], { vmm: 'qemu', name: null, uuid: null }],
    [['qemu-system-x86_64', '-name', 'a\nb'], { vmm: 'qemu', name: 'a b', uuid: null }],
    [['qemu-system-x86_64', '-name', 'x'.repeat(999)], { vmm: 'qemu', name: 'x'.repeat(128), uuid: null }],
    [['qemu-system-x86_64', '-name', 'first', '-name', 'last'], { vmm: 'qemu', name: 'last', uuid: null }],
    [
      ['qemu-system-x86_64', '-name', 'web-7', '-name', 'debug-threads=on'],
      { vmm: 'qemu', name: 'web-7', uuid: null },
    ],
    [
      [
        'qemu-system-x86_64',
        '-name',
        'guest=a,process=x',
        '-name',
        'b,debug-threads=on',
        '-name',
        'process=y',
      ],
      { vmm: 'qemu', name: 'b', uuid: null },
    ],
    [['qemu-system-x86_64', '-name', 'a,guest=b'], { vmm: 'qemu', name: 'b', uuid: null }],
    [['qemu-system-x86_64', '-name', 'b=c,guest=a=b'], { vmm: 'qemu', name: 'a=b', uuid: null }],
    [
      ['qemu-system-x86_64', '-uuid', `1${LOWER.slice(1)}`, '-uuid', UUID],
      { vmm: 'qemu', name: null, uuid: LOWER },
    ],
    [['qemu-system-x86_64', '-name'], { vmm: 'qemu', name: null, uuid: null }],
    // Proxmox
    [
      ['/usr/bin/kvm', '-id', '101', '-name', 'web-7,debug-threads=on', '-smbios', `type=1,uuid=${UUID}`],
      { vmm: 'qemu', name: 'web-7', uuid: LOWER },
    ],
    [['/usr/bin/kvm', '-id', '101'], { vmm: 'qemu', name: '101', uuid: null }],
    [
      ['kvm', '-smbios', 'type=0,uefi=on', '-smbios', `type=1,uuid=${UUID}`, '-uuid', `1${LOWER.slice(1)}`],
      { vmm: 'qemu', name: null, uuid: `1${LOWER.slice(1)}` },
    ],
    // Kata, KubeVirt
    [
      ['/opt/kata/bin/qemu-system-x86_64', '-name', `sandbox-${ID},debug-threads=on`, '-uuid', UUID],
      { vmm: 'qemu', name: `sandbox-${ID}`, uuid: LOWER },
    ],
    [
      ['/usr/libexec/qemu-kvm', '-name', 'guest=default_testvm,debug-threads=on'],
      { vmm: 'qemu', name: 'default_testvm', uuid: null },
    ],
    // The others
    [
      ['/opt/cloud-hypervisor', '--api-socket', '/run/x', '--platform', `num_pci_segments=2,uuid=${UUID}`],
      { vmm: 'cloud-hypervisor', name: null, uuid: LOWER },
    ],
    [
      ['cloud-hypervisor', `--platform=system_uuid=${UUID},iommufd=on`],
      { vmm: 'cloud-hypervisor', name: null, uuid: LOWER },
    ],
    [['crosvm', 'run', '--name', 'web'], { vmm: 'crosvm', name: 'web', uuid: null }],
    [['crosvm', 'run', '--name=web', 'vmlinux'], { vmm: 'crosvm', name: 'web', uuid: null }],
    [
      ['firecracker', '--id', 'fc-1', '--start-time-us', '7'],
      { vmm: 'firecracker', name: 'fc-1', uuid: null },
    ],
    [['firecracker', `--id=${UUID}`], { vmm: 'firecracker', name: UUID, uuid: LOWER }],
    [
      ['lkvm', 'run', '--realm', '-c', '2', '--name', 'cca0', '--vfio-pci', '0000:00:01.0'],
      { vmm: 'lkvm', name: 'cca0', uuid: null },
    ],
    [['/usr/bin/lkvm', 'run', '--name=a', '-p', '--name=b'], { vmm: 'lkvm', name: 'b', uuid: null }],
    [
      ['alioth', 'boot', '--vfio-cdev', 'path=/dev/vfio/devices/vfio0'],
      { vmm: 'alioth', name: null, uuid: null },
    ],
    [
      [
        'stratovirt',
        '-machine',
        'q35',
        '-name',
        'sv',
        '-uuid',
        UUID,
        '-device',
        'vfio-pci,id=v,host=0000:01:00.0',
      ],
      { vmm: 'stratovirt', name: 'sv', uuid: LOWER },
    ],
    [
      [
        '/opt/kata/runtime-rs/bin/containerd-shim-kata-v2',
        ...[
          '-namespace',
          'k8s.io',
          '-address',
          '/run/c.sock',
          '-publish-binary',
          '/usr/bin/containerd',
          '-id',
          ID,
        ],
      ],
      { vmm: 'dragonball', name: ID, uuid: null },
    ],
    [['krun', 'run', '-b', '/x'], { vmm: 'libkrun', name: null, uuid: null }],
    [['/usr/bin/krunvm', 'start', 'fedora', '/bin/sh'], { vmm: 'libkrun', name: 'fedora', uuid: null }],
    [['crosvm', 'run', '--name', '--cpus', '2'], { vmm: 'crosvm', name: null, uuid: null }],
    [['openvmm', '--name', 'x'], { vmm: 'openvmm', name: null, uuid: null }],
    [['/bin/sh', '-name', 'x'], { vmm: null, name: null, uuid: null }],
    [['toString'], { vmm: null, name: null, uuid: null }],
    [[''], { vmm: null, name: null, uuid: null }],
    [[], { vmm: null, name: null, uuid: null }],
  ];
  for (const [argv, expected] of cases) assert.deepEqual(identifyVm(argv), expected, argv.join(' '));
});

test('a VMM is recognized by the program names of releases and distributions, and other programs are not VMMs', () => {
  const known = {
    qemu: [
      'qemu-system-x86_64',
      'qemu-system-x86_64-spice',
      'qemu-system-x86_64-snp-experimental',
      'qemu-system-x86_64.real',
      '.qemu-system-x86_64-wrapped',
      '.qemu-system-aarch64-wrapped_',
      '.qemu-kvm-wrapped',
      'qemu-kvm',
      'kvm',
      'kvm-spice',
    ],
    'cloud-hypervisor': [
      'cloud-hypervisor',
      'cloud-hypervisor-static',
      'cloud-hypervisor-static-aarch64',
      '.cloud-hypervisor-wrapped',
    ],
    firecracker: ['firecracker', 'firecracker-v1.13.1-x86_64', 'firecracker-v1.13.1-aarch64'],
    crosvm: ['crosvm', '.crosvm-wrapped'],
    openvmm: ['openvmm'],
    lkvm: ['lkvm', 'lkvm-static', '.lkvm-wrapped'],
    alioth: ['alioth'],
    stratovirt: ['stratovirt'],
    dragonball: ['containerd-shim-kata-v2'],
    libkrun: ['krun', 'krunvm', 'muvm'],
  };
  for (const [vmm, commands] of Object.entries(known))
    for (const command of commands) assert.equal(identifyVm([`/opt/${command}`]).vmm, vmm, command);
  const others = [
    ...[
      'qemu-img',
      'qemu-nbd',
      'qemu-ga',
      'qemu-io',
      'qemu-storage-daemon',
      'qemu-system-',
      'qemu',
      'qemu-x86_64',
    ],
    ...['kvm-clock', 'kvm-pit/100', 'kvm_stat', 'kvm-ok', 'kvm-nx-lpage-recovery-100', 'xlkvm', 'xkvm'],
    ...[
      'containerd-shim-runc-v2',
      'containerd-shim-kata-v2-ctl',
      'crun',
      'alioth-cli',
      'krun-guest',
      'stratovirt_test',
    ],
    ...['firecracker-containerd', 'firecracker-ctr', 'firecracker-v', 'firecracker-v1-containerd', 'jailer'],
    ...[
      'cloud-hypervisor-ctl',
      'cloud-hypervisor-static-debug',
      'ch-remote',
      'crosvm-control',
      'openvmm_entry',
    ],
    ...['.real', '.-wrapped', 'sh', 'qemu-system-x86_64.sh', '.qemu-img-wrapped', 'my-qemu-system-x86_64'],
  ];
  for (const command of others) assert.equal(identifyVm([`/usr/bin/${command}`]).vmm, null, command);
});

const RENAMED = [
  'microvm@gpu-vm',
  ...[
    '-name',
    'gpu-vm',
    '-M',
    'q35',
    '-smbios',
    `type=1,uuid=${UUID}`,
    '-device',
    'vfio-pci,host=0000:01:00.0',
  ],
];

for (const executable of [
  '/usr/bin/qemu-system-x86_64',
  '/usr/bin/qemu-system-x86_64 (deleted)',
  '/nix/store/x-qemu-9.2.0/bin/.qemu-system-x86_64-wrapped',
  '/usr/libexec/qemu-kvm',
]) {
  test(`a process that renamed itself is recognized by its executable ${executable}`, () => {
    assert.deepEqual(identifyVm(RENAMED, executable), { vmm: 'qemu', name: 'gpu-vm', uuid: LOWER });
  });
}

test('the executable identifies the VMM; if it is not a VMM, the command does', () => {
  assert.equal(identifyVm(['qemu-system-x86_64', '--name', 'x'], '/usr/bin/lkvm').vmm, 'lkvm');
  assert.equal(identifyVm(['krun'], '/usr/bin/crun').vmm, 'libkrun');
  assert.equal(identifyVm(['qemu-kvm'], '').vmm, 'qemu');
  assert.deepEqual(identifyVm(RENAMED, '/usr/bin/sleep'), { vmm: null, name: null, uuid: null });
  assert.equal(identifyVm([], '/usr/bin/crosvm (deleted)').vmm, 'crosvm');
});

const PROGRAMS = [
  ...[
    'qemu-system-x86_64',
    'cloud-hypervisor',
    'crosvm',
    'firecracker',
    'openvmm',
    'lkvm',
    'alioth',
    'stratovirt',
  ],
  ...['containerd-shim-kata-v2', 'krun', 'krunvm'],
];
const SECRETS = [
  'hunter2',
  '--password=hunter2',
  'secret,id=s,data=hunter2',
  'token:hunter2',
  'kernel root=/dev/vda key=hunter2',
];
const OTHERS = [
  '-object',
  '-append',
  '--cmdline',
  '-p',
  '--kernel',
  '--params',
  '-fw_cfg',
  '--api-socket',
  'run',
  '-m',
  'start=x',
];

test('only the values of options of the VMM itself are returned from a command line', () => {
  const argument = fc.oneof(fc.constantFrom(...SECRETS), fc.constantFrom(...OTHERS));
  fc.assert(
    fc.property(fc.constantFrom(...PROGRAMS), fc.array(argument, { maxLength: 12 }), (program, args) => {
      for (const vm of [
        identifyVm([program, ...args]),
        identifyVm(['renamed', ...args], `/usr/bin/${program}`),
      ]) {
        assert.doesNotMatch(JSON.stringify(vm), /hunter2/);
      }
    }),
  );
});

test('machine, pod and container are read from the control group, of version 2 and 1', () => {
  const escaped = `pod${POD.replaceAll('-', '_')}`;
  const cases: [string, ReturnType<typeof identifyCgroup>][] = [
    [
      '0::/machine.slice/machine-qemu\\x2d7\\x2dweb\\x2d7.scope/libvirt/emulator\n',
      { scope: 'machine-qemu-7-web-7', machine: 'web-7' },
    ],
    [
      '0::/machine.slice/machine-qemu\\x2d7\\x2d42\\x2ddb.scope\n',
      { scope: 'machine-qemu-7-42-db', machine: '42-db' },
    ],
    ['0::/machine.slice/machine-ch\\x2d1\\x2ddb.scope\n', { scope: 'machine-ch-1-db', machine: 'db' }],
    [
      '0::/user.slice/machine-qemu\\x2dalice\\x2d3\\x2ddb.scope\n',
      { scope: 'machine-qemu-alice-3-db', machine: 'db' },
    ],
    [
      '11:cpu:/machine.slice/machine-qemu\\x2d7\\x2dd\\xc3\\xa9.scope\n1:name=systemd:/x\n0::/\n',
      { scope: 'machine-qemu-7-dé', machine: 'dé' },
    ],
    ['0::/machine.slice/machine-bad\\x2.scope\n', { scope: 'machine-bad\\x2' }],
    ['0::/qemu.slice/101.scope\n', { scope: '101' }],
    ['0::/user.slice/user-0.slice/session-3.scope\n', {}],
    [
      `0::/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-${escaped}.slice/cri-containerd-${ID}.scope\n`,
      { pod_uid: POD, container_id: ID },
    ],
    [`0::/kubepods.slice/kubepods-${escaped}.slice/crio-${ID}.scope\n`, { pod_uid: POD, container_id: ID }],
    [`4:memory:/kubepods/burstable/pod${POD}/${ID}\n`, { pod_uid: POD, container_id: ID }],
    [`0::/kubepods/besteffort/pod${POD}/kata_${ID}\n`, { pod_uid: POD, container_id: ID }],
    [
      `0::/system.slice/kubepods-burstable-${escaped}.slice:cri-containerd:${ID}\n`,
      { pod_uid: POD, container_id: ID },
    ],
    [`0::/system.slice/docker-${ID}.scope\n`, { container_id: ID }],
    [
      `0::/kubelet.slice/kubelet-kubepods.slice/kubelet-kubepods-burstable.slice/kubelet-kubepods-burstable-${escaped}.slice/cri-containerd-${ID}.scope\n`,
      { pod_uid: POD, container_id: ID },
    ],
    // kind: the node itself is a Docker container.
    [
      `0::/docker/${OUTER}/kubelet.slice/kubelet-kubepods.slice/kubelet-kubepods-${escaped}.slice/cri-containerd-${ID}.scope\n`,
      { pod_uid: POD, container_id: ID },
    ],
    [
      `0::/system.slice/docker-${OUTER}.scope/kubelet/kubepods/besteffort/pod${POD}/${ID}\n`,
      { pod_uid: POD, container_id: ID },
    ],
    [
      `0::/../../kubepods-besteffort-${escaped}.slice/crio-${ID}.scope/container\n`,
      { pod_uid: POD, container_id: ID },
    ],
    [
      `0::/kubepods.slice/kubepods-${escaped}.slice/crio-conmon-${ID}.scope\n`,
      { pod_uid: POD, container_id: ID },
    ],
    [`0::/my-kubelet/kubepods/pod${POD}/crio-${ID}\n`, { pod_uid: POD, container_id: ID }],
    [
      `0::/kubepods/burstable/pod${POD.replaceAll('-', '')}/${ID}\n`,
      { pod_uid: POD.replaceAll('-', ''), container_id: ID },
    ],
    [
      `0::/kubepods.slice/kubepods-pod${POD.replaceAll('-', '')}.slice\n`,
      { pod_uid: POD.replaceAll('-', '') },
    ],
    [`0::/kubepods-burstable-${escaped}.slice:cri-containerd:${ID}\n`, { pod_uid: POD, container_id: ID }],
    [
      `0::/machine.slice/machine-libpod_pod_${OUTER}.slice/libpod-${ID}.scope/container\n`,
      { container_id: ID },
    ],
    [`0::/machine.slice/machine-libpod_pod_${OUTER}.slice\n`, {}],
    [
      `0::/user.slice/user-1000.slice/user@1000.service/user.slice/libpod-${ID}.scope\n`,
      { container_id: ID },
    ],
    [`0::/nerdctl-${ID}.scope (deleted)\n`, { container_id: ID }],
    [`0::/kata_overhead/${ID}\n`, { container_id: ID }],
    [`0::/system.slice/x${ID}.scope\n`, {}],
    [`0::/system.slice/docker-${ID}0.scope\n`, {}],
    ['0::/kubepods.slice/kubepods-burstable-podNOTAUUID.slice/cri-containerd-abc123.scope\n', {}],
    ['0::/kubepods/podnonsense/abc\n', {}],
    ['0::/\n', {}],
    ['', {}],
    [':::', {}],
  ];
  for (const [text, expected] of cases) assert.deepEqual(identifyCgroup(text), expected, text);
});
